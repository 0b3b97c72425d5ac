"""Check the inputs of exported networks: each refuses, with the reason, what it was not evaluated on."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

ONE_COLOUR = "a picture has a single colour, so nothing can be recognised in it"
BLACK = "a picture has no value above 1"
LIGHT = "a picture has a light ground, as ink on paper"


def _plain(pictures: Tensor) -> tuple[Tensor, Tensor]:
    """Return whether one of ``pictures``, uint8 (N, C, H, W), has a single colour, and whether another has no value above 1."""
    lowest, highest = pictures.amin([2, 3]), pictures.amax([2, 3])
    one_colour = (lowest == highest).all(1)
    return one_colour.any(), ((highest.amax(1) < 2) & ~one_colour).any()


def _light(pictures: Tensor) -> Tensor:
    """Return whether one of ``pictures``, uint8 (N, 1, H, W), has a light edge: ink has to be white on black."""
    sides = [pictures[:, :, 0], pictures[:, :, -1], pictures[:, :, :, 0], pictures[:, :, :, -1]]
    return ((torch.cat(sides, 2).float() > 127).float().mean([1, 2]) > 0.9).any()


class Checked(nn.Module):
    """A traced classifier that refuses invalid pictures, for scripting. A project adds `forward`.

    ``class_names`` are the classes in the order of its outputs. ``expected`` is the end of each error message.
    """

    def __init__(self, classifier: nn.Module, class_names: list[str], expected: str) -> None:
        super().__init__()
        self.classifier = classifier
        self.class_names = class_names
        self.expected = expected
        self.one_colour = ONE_COLOUR
        self.black = BLACK
        self.light = LIGHT

    def as_bytes(self, pictures: Tensor) -> Tensor:
        """Return pictures (N, C, H, W) as uint8. float16, float32 or float64 in [0, 1] are 255ths, as torchvision's ToTensor gives them.

        Raises ValueError for another dtype, no picture, NaN, values outside the range or between the bytes, for a
        picture of a single colour, and if C is 1 for a light ground.
        """
        if pictures.numel() == 0:
            raise ValueError("no picture: expected " + self.expected)
        found = pictures
        if pictures.dtype == torch.float32 or pictures.dtype == torch.float64 or pictures.dtype == torch.float16:
            levels = pictures.float() * 255
            if not bool(((levels > -0.1) & (levels < 255.1)).all()):  # also NaN
                raise ValueError("values outside [0, 1] or NaN, as of normalised pictures: expected " + self.expected)
            found = levels.round()
            if bool(((levels - found).abs() > 0.1).any()):
                raise ValueError(
                    "values between the 255ths, as of pictures resized after ToTensor: expected " + self.expected
                )
            found = found.to(torch.uint8)
        elif pictures.dtype != torch.uint8:
            raise ValueError("values of another type: expected " + self.expected)
        one_colour, black = _plain(found)
        if bool(one_colour):
            raise ValueError(self.one_colour + ": expected " + self.expected)
        if bool(black):
            raise ValueError(self.black + ": expected " + self.expected)
        if found.shape[1] == 1 and bool(_light(found)):
            raise ValueError(self.light + ": expected " + self.expected)
        return found


class Form(NamedTuple):
    """The pictures that a network takes."""

    sizes: tuple[int | None, ...]
    """Of all dimensions but the first. None: any."""
    channels: int | None
    """The dimension of the colours. None: no colours, but ink, white on black."""
    longest: int | None
    """Limit of longer / shorter side. None: no limit."""
    words: str
    """How a refusal ends."""

    def pictures(self, images: Tensor) -> Tensor:
        """Return images of this form as (N, C, H, W)."""
        return images.unsqueeze(1) if self.channels is None else images.movedim(self.channels, 1)


class Asserted(nn.Module):
    """A classifier that refuses invalid pictures, for torch.export, which fixes the number of dimensions."""

    def __init__(self, classifier: nn.Module, form: Form) -> None:
        super().__init__()
        self.classifier, self.form = classifier, form

    def forward(self, images: Tensor) -> Tensor:
        # The graph keeps no condition on the type, but only of uint8 is 0 - 1 above 0.
        self._require(images.new_zeros(()).add(-1) > 0, "values of another type")
        self._require(torch.scalar_tensor(images.shape[0]) > 0, "no picture")
        for dimension, size in enumerate(self.form.sizes, 1):
            found = torch.scalar_tensor(images.shape[dimension])
            self._require(found > 0 if size is None else found == size, "another size")
            if size is not None:  # fixes the size without torch's own condition, which would be checked first
                images = images.index_select(dimension, torch.arange(size))
        pictures = self.form.pictures(images)
        if self.form.longest is not None:
            height, width = (torch.scalar_tensor(side) for side in pictures.shape[2:])
            longer, shorter = torch.maximum(height, width), torch.minimum(height, width)
            self._require(longer <= self.form.longest * shorter, too_long(self.form.longest))
        one_colour, black = _plain(pictures)
        self._require(~one_colour, ONE_COLOUR)
        self._require(~black, BLACK)
        if self.form.channels is None:
            self._require(~_light(pictures), LIGHT)
        answers: Tensor = self.classifier(images)
        return answers

    def _require(self, condition: Tensor, otherwise: str) -> None:
        torch._assert_async(condition, f"{otherwise}: expected {self.form.words}")


class Gated(nn.Module):
    """A classifier that refuses invalid pictures, for ONNX, which always checks type and number of dimensions itself.

    ONNX has no assertion. But a Gather from one value fails if its index is 1, and the error contains the node's name.
    `onnx_files` sets that name to the reason.
    """

    gate: Tensor

    def __init__(self, classifier: nn.Module, form: Form) -> None:
        super().__init__()
        self.classifier, self.form = classifier, form
        self.register_buffer("gate", torch.zeros(1, dtype=torch.int64))

    def reasons(self) -> list[str]:
        """Return the error messages for the uses of `gate`, in their order."""
        longest = [] if self.form.longest is None else [too_long(self.form.longest)]
        light = [LIGHT] if self.form.channels is None else []
        return [
            f"{reason}: expected {self.form.words}" for reason in ("no picture", *longest, ONE_COLOUR, BLACK, *light)
        ]

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
        pictures = self.form.pictures(images)
        holds = [torch.as_tensor(images.numel()) == 0]
        if self.form.longest is not None:
            height, width = (torch.as_tensor(side) for side in pictures.shape[2:])
            holds.append(torch.maximum(height, width) > self.form.longest * torch.minimum(height, width))
        rows = torch.arange(images.shape[0])
        light = [_light(pictures)] if self.form.channels is None else []
        for reason in (*holds, *_plain(pictures), *light):
            rows = rows + self.gate.index_select(0, reason.long().reshape(1))
        answers: Tensor | tuple[Tensor, ...] = self.classifier(images.index_select(0, rows))
        return answers


def too_long(longest: int) -> str:
    return f"a side is more than {longest} times the other"
