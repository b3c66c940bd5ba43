# SPDX-License-Identifier: AGPL-3.0-or-later
"""The training itself: draws, steps, averages; goes on from a checkpoint as if it had never stopped; needs torch.

Step s is the pictures s × batch to (s + 1) × batch, whoever draws them. Nothing in a step is random but those pictures,
so that on a CPU, with the same number of threads, the same seed gives the same weights to the last bit. Several trainings
can learn from one stream of pictures, each from rows of its own (`learn_together`).
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from training import checkpoint
from training.data import Pictures, drawn
from training.folders import FolderError
from training.loss import MaskedLoss
from training.network import averaged_into, network
from training.unfused import with_statistics

MEASURED = 128  # pictures: the mean and variance of each channel, of thousands of places in each
WARM_STEPS = 100
WEIGHT_DECAY = 0.01
MOST_GRADIENT = 10.0
DECAY = 0.4  # of the steps: from here on the learning rate falls
LATE = 0.9  # from here on without mosaics, and at the last size


@dataclass(frozen=True, slots=True)
class Settings:
    """What decides the weights, besides the pictures and where it began."""

    steps: int
    batch: int = 16
    side_px: int = 448
    last_side_px: int = 640
    learning_rate: float = 1e-3
    seed: int = 0

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Settings | None:
        """As a checkpoint has them; None for what are none."""
        if content.keys() != {each.name for each in fields(cls)}:
            return None
        return cls(**content) if all(isinstance(value, int | float) for value in content.values()) else None

    def late(self, step: int) -> bool:
        """Whether it is among the last, which see whole pictures at their final size."""
        return step >= LATE * self.steps

    def side(self, step: int) -> int:
        """Of its pictures."""
        return self.last_side_px if self.late(step) else self.side_px

    def rate(self, step: int) -> float:
        """A warm beginning, then constant, then half a cosine down to a fiftieth.

        Until it falls nothing depends on how many steps there will be: a training can be made longer or shorter
        while it runs ("warmup-stable-decay", Hu et al., MiniCPM, 2024, section 4).
        """
        warm = min(1.0, (step + 1) / WARM_STEPS)
        fallen = max(0.0, (step - DECAY * self.steps) / ((1 - DECAY) * self.steps))
        return self.learning_rate * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * fallen)))

    def continues(self, other: Settings, step: int) -> bool:
        """Whether what was made with `other` up to `step` is what these settings would have made."""
        same = replace(other, steps=self.steps) == self
        return self == other or (same and step <= DECAY * min(self.steps, other.steps))


class Progress:
    """How far it is."""

    def __init__(self, step: int, of: int, loss: float, pictures_s: float, left_s: float) -> None:
        self.step, self.of, self.loss, self.pictures_s, self.left_s = step, of, loss, pictures_s, left_s

    def __str__(self) -> str:
        left = f"{self.left_s / 3600:.1f} h" if self.left_s >= 5400 else f"{self.left_s / 60:.0f} min"
        return f"step {self.step} of {self.of}, loss {self.loss:.3f}, {self.pictures_s:.1f} pictures/s, {left} left"


Batch = dict[str, torch.Tensor]


class Stream(torch.utils.data.Dataset):  # type: ignore[misc]
    """Training pictures as tensors, also in other processes: a step's first ones are of the first group, and so on."""

    def __init__(self, groups: Sequence[Pictures], sizes: Sequence[int], settings: Settings) -> None:
        """`sizes` says how many of each group a step has; of `settings`, all but the batch decides what is drawn."""
        self._group_of_row = [group for group, size in zip(groups, sizes, strict=True) for _ in range(size)]
        self._settings = settings

    def __len__(self) -> int:
        return self._settings.steps * len(self._group_of_row)

    def __getitem__(self, number: int) -> Batch:
        settings, (step, row) = self._settings, divmod(number, len(self._group_of_row))
        side = settings.side(step)
        view = drawn(self._group_of_row[row], settings.seed, number, side, mosaics=not settings.late(step))
        corners = view.boxes[:, 1:] / side
        places = np.concatenate(((corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]), axis=1)
        return {
            "img": torch.from_numpy(np.ascontiguousarray(view.pixels[:, :, ::-1].transpose(2, 0, 1))),
            "cls": torch.from_numpy(view.boxes[:, :1].copy()),
            "bboxes": torch.from_numpy(places.astype(np.float32)),
            "known": torch.tensor([1.0, 1.0 if view.smoke_known else 0.0]),
        }

    def batches(self, step: int, workers: int) -> Iterator[Batch]:
        """From that step on to the last; the processes that draw are there when this returns."""
        size = len(self._group_of_row)
        numbers = range(step * size, len(self))
        return iter(torch.utils.data.DataLoader(self, size, sampler=numbers, num_workers=workers, collate_fn=together))


def together(parts: list[Batch]) -> Batch:
    """A batch as Ultralytics' loss takes it."""
    return {
        "img": torch.stack([each["img"] for each in parts]),
        "cls": torch.cat([each["cls"] for each in parts]),
        "bboxes": torch.cat([each["bboxes"] for each in parts]),
        "known": torch.stack([each["known"] for each in parts]),
        "batch_idx": torch.cat([torch.full((len(each["cls"]),), float(at)) for at, each in enumerate(parts)]),
    }


def selected(batch: Batch, rows: Sequence[int]) -> Batch:
    """Those pictures of a batch, in that order, as a batch."""
    rows = list(rows)
    if rows == list(range(len(batch["img"]))):
        return batch
    parts = [(batch["batch_idx"] == row).nonzero()[:, 0] for row in rows]
    boxes = torch.cat(parts)
    return {
        "img": batch["img"][rows],
        "cls": batch["cls"][boxes],
        "bboxes": batch["bboxes"][boxes],
        "known": batch["known"][rows],
        "batch_idx": torch.cat([torch.full((len(each),), float(at)) for at, each in enumerate(parts)]),
    }


class Training:
    """One training, in memory; `step` of `settings.steps` are done."""

    def __init__(self, model: torch.nn.Module, plan: dict[str, Any], settings: Settings, device: str) -> None:
        self.plan, self.settings, self.step, self.device = plan, settings, 0, device
        self.made_of = dict[str, str]()
        """SHA-256 of the pictures and of the weights that it began from, and in words the folders, those weights and the command,
        for the card; as far as they are known."""
        self.model = model.to(device).to(memory_format=torch.channels_last).train()
        self.average = copy.deepcopy(self.model).eval()
        for parameter in self.average.parameters():
            parameter.requires_grad_(False)
        named = [each for _, each in self.model.named_parameters()]
        groups = [
            {"params": [each for each in named if each.ndim > 1], "weight_decay": WEIGHT_DECAY},
            {"params": [each for each in named if each.ndim <= 1], "weight_decay": 0.0},
        ]
        self._optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate)
        self._loss = MaskedLoss(self.model)
        self._bf16 = has_bf16(device)

    @classmethod
    def resumed(cls, path: Path, settings: Settings | None, device: str) -> Training:
        """From a checkpoint; raises FolderError when it was made with other settings than these."""
        content = checkpoint.load(path)
        made_with = Settings.of(content["settings"])
        if made_with is None:
            raise checkpoint.damaged(path, "its settings are not those of a training")
        if settings is not None and not settings.continues(made_with, content["step"]):
            raise FolderError(
                f"{path}: at step {content['step']}, made with other settings ({asdict(made_with)}); give the same, another "
                f"--out, or, while the learning rate is constant (before {DECAY:.0%} of both), other --epochs"
            )
        made = cls(network(content["plan"]), content["plan"], settings or made_with, device)
        made.model.load_state_dict(content["model"])
        made.average.load_state_dict(content["average"])
        try:
            made._optimizer.load_state_dict(content["optimizer"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise checkpoint.damaged(path, "its optimizer's state is not that of its network") from error
        made.step, made.made_of = content["step"], content.get("made_of", {})
        return made

    def content(self) -> dict[str, Any]:
        """Of its checkpoint."""
        content = {"plan": self.plan, "settings": asdict(self.settings), "step": self.step, "made_of": self.made_of}
        states = {"model": self.model, "average": self.average, "optimizer": self._optimizer}
        return content | {name: each.state_dict() for name, each in states.items()}

    def save(self, path: Path) -> None:
        """As a checkpoint."""
        checkpoint.save(path, self.content())

    def measure(self, pictures: Pictures) -> None:
        """For weights that were exported: gives their batch norms what the first pictures bring about in them."""
        batches = islice(self.batches(pictures), math.ceil(MEASURED / self.settings.batch))
        with_statistics(self.model, (self.images(batch) for batch in batches))
        self.average.load_state_dict(self.model.state_dict())

    def run(
        self, pictures: Pictures, told: Callable[[Progress], None], keep: Callable[[], None], workers: int = 0
    ) -> None:
        """To the end, as `learn_together`."""
        learn_together([(self, range(self.settings.batch))], self.batches(pictures, workers), told, keep)

    def learn(self, batch: Batch) -> float:
        """One step; returns its loss a picture. Raises FolderError where the training has come apart."""
        for group in self._optimizer.param_groups:
            group["lr"] = self.settings.rate(self.step)
        images = self.images(batch)
        with torch.autocast(self.device, torch.bfloat16, enabled=self._bf16):
            answers = self.model(images)
        loss, _ = self._loss({name: _float(value) for name, value in answers.items()}, batch)
        total = loss.sum()
        total.backward()
        slope = torch.nn.utils.clip_grad_norm_(self.model.parameters(), MOST_GRADIENT)
        if not torch.isfinite(total.detach() + slope):  # before it moves anything: what is kept on disk stays good
            raise FolderError(
                f"step {self.step + 1}: the loss or its slope is no number any more; what was saved last is kept; train with "
                "a lower --learning-rate or another --seed"
            )
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        self.step += 1
        averaged_into(self.average, self.model, 1 - 0.999 * (1 - math.exp(-self.step / 300)))
        return float(total.detach()) / len(images)

    def images(self, batch: Batch) -> torch.Tensor:
        """(N, 3, side, side), RGB from 0 to 1."""
        return batch["img"].to(self.device).to(memory_format=torch.channels_last).float() / 255

    def batches(self, pictures: Pictures, workers: int = 0) -> Iterator[Batch]:
        """Those of its steps from here on."""
        return Stream([pictures], [self.settings.batch], self.settings).batches(self.step, workers)


def learn_together(
    learners: Sequence[tuple[Training, Sequence[int]]],
    batches: Iterator[Batch],
    told: Callable[[Progress], None],
    keep: Callable[[], None],
) -> None:
    """To the end, of trainings that are at the same step, each of which learns from its rows of the same batches.

    `told` hears every 20 steps, `keep` is called every 5 minutes and at the end.
    """
    leader = learners[0][0]
    steps, first = leader.settings.steps, leader.step
    began_s = kept_s = time.monotonic()
    losses = list[float]()
    for batch in batches:
        batch["img"] = batch["img"].to(leader.device)  # once for all of them
        losses.append(float(np.mean([each.learn(selected(batch, rows)) for each, rows in learners])))
        now_s = time.monotonic()
        if leader.step % 20 == 0 or leader.step == steps:
            each_s = (now_s - began_s) / (leader.step - first)
            left_s = each_s * (steps - leader.step)
            told(Progress(leader.step, steps, float(np.mean(losses[-60:])), len(batch["img"]) / each_s, left_s))
        if now_s - kept_s >= 300:
            keep()
            kept_s = now_s
    keep()


def has_bf16(device: str) -> bool:
    """Whether the device computes in bf16 by itself; where it is emulated, it is slower than f32."""
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    return "avx512_bf16" in flags or "amx_bf16" in flags


def _float(value: Any) -> Any:
    return [each.float() for each in value] if isinstance(value, (list, tuple)) else value.float()
