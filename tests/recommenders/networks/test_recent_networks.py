"""LiGR, STU and the linear recurrent unit against their equations, and networks that see no future."""

import pytest
import torch
import torch.nn.functional as F

from recommenders.base import FitRequest
from recommenders.esasrec import ESASRec
from recommenders.hstu import HSTU
from recommenders.lrurec import LRURec
from recommenders.networks.hstu import STU
from recommenders.networks.ligr import LiGRBlock
from recommenders.networks.lrurec import LinearRecurrentUnit
from recommenders.training.losses import generalised_bce

DIM, HEADS, LENGTH = 8, 2, 5


@pytest.fixture
def x():
    return torch.randn(3, LENGTH, DIM, generator=torch.Generator().manual_seed(0))


def test_ligr_is_torch_s_attention_and_a_swiglu_behind_gates(x):
    torch.manual_seed(1)
    block = LiGRBlock(DIM, HEADS, 12, 0.3).eval()
    attention = torch.nn.MultiheadAttention(DIM, HEADS, batch_first=True)
    attention.load_state_dict(
        {
            "in_proj_weight": block.qkv.weight,
            "in_proj_bias": block.qkv.bias,
            "out_proj.weight": block.out.weight,
            "out_proj.bias": block.out.bias,
        }
    )
    y = block.norm_attention(x)
    future = torch.ones(LENGTH, LENGTH, dtype=torch.bool).triu(1)
    z = x + torch.sigmoid(block.gate_attention(x)) * attention(y, y, y, attn_mask=future)[0]
    y = block.norm_inner(z)
    expected = z + torch.sigmoid(block.gate_inner(z)) * block.down(F.silu(block.up(y)) * block.side(y))
    torch.testing.assert_close(block(x), expected)
    last = torch.tensor([4, 2, 0])
    torch.testing.assert_close(block.at(x, last)[:, 0], expected[torch.arange(3), last])


def test_stu_is_its_sum_written_out(x):
    torch.manual_seed(1)
    unit = STU(DIM, HEADS, 0.3, length=9).eval()
    u, v, q, k = F.silu(F.layer_norm(x, (DIM,)) @ unit.uvqk.weight.T).split(DIM, dim=2)
    seen = torch.zeros_like(x)
    for row in range(3):
        for i in range(LENGTH):
            for head in range(HEADS):
                at = slice(head * DIM // HEADS, (head + 1) * DIM // HEADS)
                for j in range(i + 1):
                    weight = F.silu(q[row, i, at] @ k[row, j, at] + unit.bias[i - j]) / 9
                    seen[row, i, at] += weight * v[row, j, at]
    expected = x + (u * F.layer_norm(seen, (DIM,))) @ unit.out.weight.T + unit.out.bias
    torch.testing.assert_close(unit(x), expected)


def test_the_linear_recurrence_is_one_step_after_the_other(x):
    torch.manual_seed(1)
    unit = LinearRecurrentUnit(DIM, 6)
    eigenvalue = torch.exp(torch.complex(-unit.nu.exp(), unit.theta.exp()))
    assert (eigenvalue.abs() < 1).all()
    gamma = torch.sqrt(1 - eigenvalue.abs() ** 2)
    state, out = torch.zeros(3, 6, dtype=torch.complex64), []
    for at in range(LENGTH):
        real, imaginary = unit.enter(x[:, at]).chunk(2, dim=1)
        state = eigenvalue * state + gamma * torch.complex(real, imaginary)
        out.append(unit.leave(torch.cat([state.real, state.imag], dim=1)))
    torch.testing.assert_close(unit(x), torch.stack(out, dim=1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("model", [ESASRec(dim=8, inner=8), HSTU(dim=8), LRURec(dim=8, inner=8)])
def test_no_position_sees_a_later_item_or_padding(model, make_data, planted):
    network = model.prepare(FitRequest(make_data(planted[0]), seed=1)).model.eval()
    items = torch.tensor([[3, 7, 2, 9, 4]])
    with torch.no_grad():
        states = network.states(items)
        torch.testing.assert_close(network.states(torch.tensor([[3, 7, 2, 1, 1]]))[:, :3], states[:, :3])
        padded = F.pad(items, (0, 3))
        torch.testing.assert_close(network.states(padded)[:, :5], states)
        torch.testing.assert_close(network(padded, torch.tensor([5])), states[:, 4])
        assert not torch.allclose(network.states(torch.tensor([[7, 3, 2, 9, 4]]))[:, 4], states[:, 4])


@pytest.mark.parametrize("calibration", [0.0, 0.75, 1.0])
def test_gbce_is_the_loss_of_its_paper(calibration):
    hidden, table = torch.randn(4, 6), torch.randn(20, 6)
    target, released = torch.tensor([3, 8, 0, 19]), torch.tensor([10, 20, 20, 20])
    torch.manual_seed(5)
    found = generalised_bce(hidden, table, target, released, 7, calibration)
    torch.manual_seed(5)
    drawn = (torch.rand(7) * 20).long().tolist()
    share = 7 / 19
    beta = share * (calibration * (1 - 1 / share) + 1 / share)
    total = 0.0
    for row in range(4):
        scores = torch.sigmoid(table @ hidden[row])
        total -= float(torch.log(scores[target[row]] ** beta))
        total -= sum(float(torch.log(1 - scores[i])) for i in drawn if i < released[row] and i != target[row])
    assert float(found) == pytest.approx(total / 4 / 8, rel=1e-4)
    assert beta == pytest.approx({0.0: 1.0, 1.0: share}.get(calibration, beta))


def test_esasrec_trains_with_gbce(make_data, planted):
    model = ESASRec(dim=16, inner=16, batch=256, lr=0.01, loss="gbce", loss_negatives=8)
    curve = model.fit(FitRequest(make_data(planted[0]), seed=1, epochs=6)).curve
    assert curve[-1]["loss"] < 0.8 * curve[0]["loss"]
