"""RecBole models made from our data, and the item encoder put into them."""

import pytest
import torch

from protocols.errors import BenchError
from recommenders.encoder.item_encoder import ItemEncoder
from recommenders.recbole import adapter, compat


@pytest.fixture
def data(make_data):
    return make_data([[0, 1, 2, 3], [3, 1, 0]], n_cold=3)


def stock(name, data, **options):
    options = {**compat.default_options(name), "loss_type": "CE", **options}
    return adapter.build(compat.model_class(name), data, options, max_length=6, device="cpu")


def interaction(model):
    return {
        model.ITEM_SEQ: torch.tensor([[1, 2, 3, 0, 0, 0], [4, 2, 0, 0, 0, 0]]),
        model.ITEM_SEQ_LEN: torch.tensor([3, 2]),
        model.POS_ITEM_ID: torch.tensor([4, 1]),
    }


def test_stock_model_is_built_for_warm_items_and_padding(data):
    model = stock("SASRec", data)
    assert model.n_items == 5 and model.item_embedding.weight.shape == (5, 64)
    assert torch.isfinite(model.calculate_loss(interaction(model)))


def test_dataset_names_the_field_it_cannot_serve(data):
    with pytest.raises(BenchError, match="'category'"):
        adapter.WarmDataset(data).num("category")


@pytest.mark.parametrize("name", ["SASRec", "GRU4Rec", "NARM"])
def test_stock_models_learn_and_score_through_the_encoder(name, data, make_features):
    """The input side and the output side: both move when the projection does, gradients reach it."""
    model = stock(name, data)
    encoder = ItemEncoder(data.n_warm, len(data.items), 64, "gate", make_features(7, 4), 0.1)
    adapter.inject(model, encoder)
    assert not any(isinstance(m, torch.nn.Embedding) and m.num_embeddings == 5 for m in model.modules())
    model.calculate_loss(interaction(model)).backward()
    assert encoder.content.projection.weight.grad.abs().sum() > 0

    model.eval()
    before = model.full_sort_predict(interaction(model)).detach()
    assert before.shape[-1] == 8  # padding, warm and cold: nobody built the model for the last three
    with torch.no_grad():
        encoder.content.projection.weight.mul_(-3)
    assert not torch.allclose(model.full_sort_predict(interaction(model)), before)


def test_all_references_to_the_table_are_replaced(data, make_features):
    model = stock("GRU4RecCPR", data, reranker_CAN_NUM="2")
    assert model.out_item_embedding is model.item_embedding
    encoder = ItemEncoder(data.n_warm, len(data.items), 64, "gate", make_features(7, 4), 0.1)
    adapter.inject(model, encoder)
    assert model.item_embedding is encoder and model.out_item_embedding is encoder


def test_a_model_without_item_table_is_refused(data, make_features):
    with pytest.raises(BenchError, match="no item table"):
        adapter.inject(torch.nn.Linear(2, 2), ItemEncoder(4, 7, 8, "id", None, 0.1))


def test_a_hidden_second_reference_is_refused(data):
    class Sly(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.item_embedding = torch.nn.Embedding(5, 8)
            self.tied = torch.nn.Linear(8, 5)
            self.tied.weight = self.item_embedding.weight

    with pytest.raises(BenchError, match="second reference"):
        adapter.inject(Sly(), ItemEncoder(4, 7, 8, "id", None, 0.1))


def test_an_optimizer_made_before_the_injection_is_refused(data, make_features):
    model = stock("SASRec", data)
    early = torch.optim.Adam(model.parameters())
    encoder = ItemEncoder(data.n_warm, len(data.items), 64, "gate", make_features(7, 4), 0.1)
    adapter.inject(model, encoder)
    with pytest.raises(BenchError, match=r"projection\.weight"):
        adapter.check_optimizer(early, encoder)
    adapter.check_optimizer(torch.optim.Adam(model.parameters()), encoder)
