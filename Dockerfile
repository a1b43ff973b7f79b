# docker build -t bench . && docker run -v bench:/data bench run --extractor captions --model sasrec
FROM python:3.12-slim
RUN pip install --no-cache-dir uv
WORKDIR /bench
COPY . .
RUN uv sync -q --no-dev --no-cache
ENV BENCH_CACHE=/data/cache BENCH_RESULTS=/data/results
VOLUME /data
ENTRYPOINT ["uv", "run", "--no-sync", "bench"]
CMD ["--help"]
