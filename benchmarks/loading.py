"""Load exported models and answer pictures with them, with torch, numpy and Pillow alone: `benchmarks.reach` runs it.

    python -I loading.py FOLDER

FOLDER has a folder for each project: files as export writes them, an unpacked archive in `archive/`, `pictures.pt` (a list
of tensors, one picture each), the same as PNG files, and `answers.pt`, the expected probabilities (N, classes). Prints
JSON: for each project and form the largest difference of a probability and how many classes differ, or the error.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch


def as_floats(picture: torch.Tensor) -> torch.Tensor:
    """Return bytes (1, 28, 28), (1, H, W, 3) or (1, 3, H, W) as torchvision's ToTensor gives them: (1, C, H, W) in [0, 1]."""
    planes = picture.unsqueeze(1) if picture.ndim == 3 else picture
    return (planes.permute(0, 3, 1, 2) if planes.shape[3] == 3 else planes).float() / 255


def script(folder: Path) -> list[torch.Tensor]:
    model = torch.jit.load(str(folder / "model.pt"))
    names = list(model.class_names)
    pictures = torch.load(folder / "pictures.pt", weights_only=True)
    answers = [model(picture)[0] for picture in pictures]
    floats = [model(as_floats(picture))[0] for picture in pictures]
    if len(names) != len(answers[0]) or any(map(torch.ne, torch.cat(answers), torch.cat(floats))):
        raise ValueError("class_names, or the answers to floats, differ")
    return answers


def program(folder: Path) -> list[torch.Tensor]:
    model = torch.export.load(str(folder / "model.pt2")).module()
    return [model(picture)[0] for picture in torch.load(folder / "pictures.pt", weights_only=True)]


def archive(folder: Path) -> list[torch.Tensor]:
    for path in (folder / "archive" / "code").glob("*.py"):
        sys.modules.pop(path.stem, None)
    sys.path.insert(0, str(folder / "archive" / "code"))
    try:
        import inference  # type: ignore[import-not-found]

        model = inference.model_fn(str(folder / "archive"))
        answers = []
        for path in sorted(folder.glob("*.png")):
            data = inference.input_fn(path.read_bytes(), "image/png")
            answer = json.loads(inference.output_fn(inference.predict_fn(data, model), "application/json"))
            answers.append(torch.tensor(answer["probabilities"][0] if isinstance(answer, dict) else answer))
    finally:
        sys.path.pop(0)
    return answers


FORMS: dict[str, Callable[[Path], list[torch.Tensor]]] = {
    "model.pt": script,
    "model.pt2": program,
    "model.tar.gz": archive,
}


def measured(form: str, folder: Path) -> dict[str, Any]:
    expected = torch.load(folder / "answers.pt", weights_only=True)
    try:
        answers = torch.stack(FORMS[form](folder))
    except Exception as error:  # whatever a version of torch raises for a file that it can't read
        return {"error": f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"[:200]}
    return {
        "pictures": len(answers),
        "difference": (answers - expected).abs().max().item(),
        "changed": int((answers.argmax(1) != expected.argmax(1)).sum()),
    }


def main() -> None:
    torch.set_num_threads(1)
    projects = sorted(path for path in Path(sys.argv[1]).iterdir() if path.is_dir())
    with torch.no_grad():
        found = {
            path.name: {
                form: measured(form, path)
                for form in FORMS
                if (path / form.replace("model.tar.gz", "archive")).exists()
            }
            for path in projects
        }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
