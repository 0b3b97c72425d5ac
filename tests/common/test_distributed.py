"""What processes that train together make of a batch is what one makes of it."""

import copy

import pytest
import torch
from torch import nn
from torchvision.ops import StochasticDepth

from stages.common.training import distributed


@pytest.mark.parametrize("layer", [nn.Dropout(0.5), StochasticDepth(0.5, "row"), StochasticDepth(0.5, "batch")])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_processes_leave_out_the_same_images_as_one_process(
    monkeypatch: pytest.MonkeyPatch, layer: nn.Module, layout: torch.memory_format
) -> None:
    images = torch.rand(6, 3, 4, 4).to(memory_format=layout)
    torch.manual_seed(3)
    whole = layer(images)
    monkeypatch.setattr(distributed, "size", lambda: 2)
    for rank in range(2):
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        torch.manual_seed(3)
        assert torch.equal(distributed._thinned(layer, images[rank::2]), whole[rank::2])


def test_statistics_of_channels_of_one_value_are_numbers() -> None:
    inputs = torch.linspace(1000, 5000, 64)[None, :, None, None].expand(8, -1, 3, 3)
    assert distributed._normalised(nn.BatchNorm2d(64), inputs).isfinite().all()


@pytest.mark.parametrize(
    ("batch_size", "processes", "sharing"),
    [(32, 2, 2), (32, 3, 2), (9, 2, 1), (9, 4, 3), (4, 4, 2), (3, 2, 1), (64, 1, 1)],
)
def test_only_processes_with_equal_parts_share_a_batch(batch_size: int, processes: int, sharing: int) -> None:
    assert distributed.sharers(batch_size, processes) == sharing


@pytest.mark.parametrize(
    ("layer", "shape"),
    [(nn.BatchNorm2d(5), (8, 5, 6, 7)), (nn.BatchNorm1d(5), (16, 5)), (nn.BatchNorm1d(5, affine=False), (16, 5))],
)
def test_one_process_s_batch_norm_is_torch_s(layer: nn.BatchNorm1d | nn.BatchNorm2d, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    own = copy.deepcopy(layer)
    inputs, gradient = (torch.randn(shape) * 3 + 2).requires_grad_(), torch.randn(shape)
    answers = layer(inputs), distributed._normalised(own, inputs)
    torch.testing.assert_close(answers[1], answers[0])
    expected, found = (
        torch.autograd.grad(answer, [inputs, *network.parameters()], gradient)
        for answer, network in zip(answers, (layer, own), strict=True)
    )
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found[0], expected[0], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(own.state_dict(), layer.state_dict())
