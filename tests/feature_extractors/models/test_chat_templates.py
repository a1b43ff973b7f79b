"""Chat templates of checkpoints are code of others: one that does not run is an error of the checkpoint."""

import shutil

import numpy as np
import pytest

from feature_extractors import pocket
from feature_extractors.media.audio import Sound
from feature_extractors.models.architectures import QWEN_VL
from feature_extractors.models.checkpoint.checkpoints import resolve
from feature_extractors.models.decoder_states import StateReader
from feature_extractors.models.qwen_audio import AudioCaptioner, SoundWithTexts
from feature_extractors.models.text_generation import TextAnswers
from feature_extractors.models.video_captioner import Captioner
from protocols.errors import CheckpointError

TEMPLATES = {
    "SecurityError": "{{ messages.__class__.__mro__[1].__subclasses__() }}",
    "TemplateSyntaxError": "{% for message in messages %}",
    "UndefinedError": "{{ messages[0].content.nothing.more }}",
    "OverflowError": "{% for one in range(10 ** 9) %}{% endfor %}",
    "TemplateError": "{{ raise_exception('not this turn') }}",
}


@pytest.fixture
def with_template(tmp_path):
    """A function that copies a pocket checkpoint with another chat template."""

    def copy(folder, template):
        shutil.copytree(folder, tmp_path / "changed", dirs_exist_ok=True)
        (tmp_path / "changed" / "chat_template.jinja").write_text(template)
        return resolve(str(tmp_path / "changed"), folder)

    return copy


@pytest.mark.parametrize("kind", TEMPLATES)
def test_a_template_that_does_not_run_is_told_when_the_model_is_loaded(with_template, kind):
    checkpoint = with_template(pocket.CAPTIONER, TEMPLATES[kind])
    with pytest.raises(CheckpointError, match=f"changed: its chat template cannot be loaded: {kind}") as raised:
        Captioner(checkpoint, "float32", "cpu", "describe", 4)
    assert raised.value.remedy


@pytest.mark.parametrize(
    ("folder", "load"),
    [
        (pocket.CAPTIONER, lambda one: StateReader(one, QWEN_VL, "float32", "cpu", "describe")),
        (pocket.CAPTIONER, lambda one: TextAnswers(one, "float32", "cpu", "describe", 4, 10)),
        (pocket.QWEN_AUDIO, lambda one: AudioCaptioner(one, "float32", "cpu", "describe", 4)),
    ],
)
def test_it_is_told_before_the_first_item_by_every_reader_of_turns(with_template, folder, load):
    with pytest.raises(CheckpointError, match="its chat template cannot be loaded: SecurityError"):
        load(with_template(folder, TEMPLATES["SecurityError"]))


def test_a_template_that_refuses_some_turns_alone_is_no_failure_of_the_clip(with_template):
    refusing = "{{ raise_exception('long') if messages[0].content[-1].text|length > 20 else 'turn' }}"
    captioner = AudioCaptioner(with_template(pocket.QWEN_AUDIO, refusing), "float32", "cpu", "{transcript}", 4)
    sound = Sound(np.zeros(16_000, np.float32), 1, 16_000, "")
    with pytest.raises(CheckpointError, match="TemplateError: long"):
        captioner([SoundWithTexts(sound, "more than twenty characters", None)])
