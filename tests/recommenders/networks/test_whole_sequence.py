"""Networks trained on whole sequences: which positions a state is made of, and what scoring leaves out."""

import pytest
import torch

from bench import registry
from recommenders.base import FitRequest
from recommenders.networks.whole_sequence import WholeSequence

ITEMS = 30


@pytest.mark.parametrize(
    ("name", "more"), [("sasrec", {"layers": 2}), ("gru4rec", {}), ("nextitnet", {}), ("two-towers", {})]
)
def test_a_state_is_made_of_the_items_up_to_it(name, more, make_data, planted):
    model = registry.create("model", name, {name: {"dim": 16, "batch": 256, **more}})
    trained = model.fit(FitRequest(make_data(planted[0]), seed=1, epochs=1)).scorer.model
    ids = torch.randint(1, ITEMS + 1, (3, 9), generator=torch.Generator().manual_seed(0))
    changed = ids.clone()
    changed[:, 5:] = ids[:, 5:] % ITEMS + 1
    with torch.inference_mode():
        one, two = trained.states(ids), trained.states(changed)
        torch.testing.assert_close(one[:, :5], two[:, :5])
        assert not torch.allclose(one[:, 5], two[:, 5])
        # what stands behind a short history is padding, which changes nothing either
        length = torch.tensor([9, 4, 1])
        padded = ids * (torch.arange(9) < length[:, None])
        alone = [trained(ids[i : i + 1, :n], torch.tensor([n])) for i, n in enumerate(length.tolist())]
        torch.testing.assert_close(trained(padded, length), torch.cat(alone))


def test_bert4rec_sees_both_sides_and_no_padding(make_data, planted):
    model = registry.create("model", "bert4rec", {"bert4rec": {"dim": 16, "inner": 16}})
    trained = model.fit(FitRequest(make_data(planted[0]), seed=1, epochs=1)).scorer.model
    ids = torch.randint(1, ITEMS + 1, (2, 6), generator=torch.Generator().manual_seed(0))
    hidden = torch.zeros(2, 6, dtype=torch.bool)
    hidden[:, 2] = True
    with torch.inference_mode():
        before = trained.around(ids, hidden)[:, 2]
        unseen = ids.clone()
        unseen[:, 2] = ids[:, 2] % ITEMS + 1
        torch.testing.assert_close(trained.around(unseen, hidden)[:, 2], before)  # it does not see what it is to tell
        later = ids.clone()
        later[:, 4] = ids[:, 4] % ITEMS + 1
        assert not torch.allclose(trained.around(later, hidden)[:, 2], before)
        length = torch.tensor([6, 3])
        padded = ids * (torch.arange(6) < length[:, None])
        alone = [trained(ids[i : i + 1, :n], torch.tensor([n])) for i, n in enumerate(length.tolist())]
        torch.testing.assert_close(trained(padded, length), torch.cat(alone))


def test_scoring_equals_the_last_state_of_training(make_data, planted):
    """The short cut through the topmost block gives what the whole network gives."""
    plugin = registry.create("model", "sasrec", {"sasrec": {"dim": 16, "inner": 16, "layers": 2}})
    model = plugin.fit(FitRequest(make_data(planted[0]), seed=1, epochs=1)).scorer.model
    ids = torch.tensor([[3, 4, 5, 0], [1, 2, 3, 4]])
    with torch.no_grad():
        whole = model.states(ids)[[0, 1], [2, 3]]
        torch.testing.assert_close(model(ids, torch.tensor([3, 4])), whole)
        assert torch.equal(model.states(ids)[0, :3], model.states(ids * (ids != 0))[0, :3])
        item = {model.ITEM_SEQ: ids, model.ITEM_SEQ_LEN: torch.tensor([3, 4]), model.ITEM_ID: torch.tensor([7, 8])}
        torch.testing.assert_close(model.predict(item), model.full_sort_predict(item)[[0, 1], [7, 8]])


def test_the_in_batch_mask_knows_the_items_of_each_sequence():
    class Names(WholeSequence):
        ITEM_SEQ, POS_ITEM_ID = "items", "targets"
        release_order = torch.tensor([3, 1, 4, 2])
        release_rank = torch.tensor([-1, 1, 3, 0, 2])  # of padding and of items 1 to 4

    batch = {"items": torch.tensor([[1, 2], [4, 0]]), "targets": torch.tensor([[2, 3], [1, 0]])}
    assert Names().members(batch)[:, torch.arange(4)].tolist() == [
        [True, True, False, True],
        [False, True, True, False],
    ]
