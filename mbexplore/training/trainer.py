"""The training loop: masked-language modelling on one process or several, stoppable at any moment.

Owns model, optimisers and clock; takes batches from `packing`, leaves files through `checkpoint`.
Under torchrun every process makes the same batch and trains on its share of the rows, so the
losses are those of one process.
"""

from __future__ import annotations

import contextlib
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from mbexplore.checkpoints.model import load_model
from mbexplore.errors import MbexploreError, ModelError
from mbexplore.network.config import ModernBertConfig
from mbexplore.network.model import ModernBertForMaskedLM
from mbexplore.text import shortened
from mbexplore.training.checkpoint import STATE_FILE, load_state, save_model_folder, save_state
from mbexplore.training.compiling import find_compile_fault
from mbexplore.training.history import History
from mbexplore.training.packing import (
    Batch,
    Place,
    RowStream,
    TokenizedTexts,
    check_words,
    cut_pieces,
    mask_rows,
    rank_part,
)
from mbexplore.training.recipe import Recipe, rate_factor
from mbexplore.training.tokenizer import special_ids


@dataclass(frozen=True)
class Budget:
    """How long a run trains: a number of steps or a time; time counts over all resumed parts."""

    steps: int | None = None
    minutes: float | None = None

    def progress(self, step: int, seconds: float) -> float:
        """How much of the run is done, from 0 to 1 (or more)."""
        if self.steps is not None:
            return step / self.steps
        assert self.minutes is not None
        return seconds / (60 * self.minutes)


@dataclass(frozen=True)
class Report:
    """What one step tells the progress bar."""

    step: int
    loss: float
    done: float
    """Part of the run that is done, with this step."""
    tokens_per_second: float
    seconds: float


@dataclass
class Clock:
    """How far a run has come; all of it is kept in the checkpoint."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    long: bool = False
    place: Place = field(default_factory=Place)


def decoder_loss(features: Tensor, weight: Tensor, bias: Tensor | None, labels: Tensor) -> Tensor:
    """Cross-entropy in nats, summed, of features (masked, hidden) through a decoder.

    A function of its own since it is worth compiling: the (masked, vocab) logits and their
    gradients are passed over once instead of five times (a fifth of a step on two CPU cores).
    """
    logits = F.linear(features, weight, bias)  # (masked, vocab)
    return F.cross_entropy(logits.float(), labels, reduction="sum")


class MaskedLoss(nn.Module):
    """The model with its loss, summed over the masked positions; one module, as DDP wants it."""

    def __init__(self, model: ModernBertForMaskedLM, *, compiled: bool = False) -> None:
        super().__init__()
        self.lm = model
        self._decoder_loss = torch.compile(decoder_loss, dynamic=True) if compiled else decoder_loss

    def forward(self, ids: Tensor, segments: Tensor, positions: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy in nats, summed; `positions` index the flattened (rows, length)."""
        hidden = self.lm.model(ids, segment_ids=segments).flatten(0, 1)  # (rows * length, hidden)
        features = self.lm.head(hidden[positions])  # (masked, hidden)
        decoder = self.lm.decoder
        loss: Tensor = self._decoder_loss(features, decoder.weight, decoder.bias, labels)
        return loss


def build_optimizers(model: nn.Module, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the layers, AdamW for embeddings, norms and biases.

    Weight decay is decoupled in both, and norms and biases have none. A torch without Muon
    (before 2.9) trains the matrices with AdamW too.
    """
    matrices, tables, vectors = [], [], []
    for name, parameter in model.named_parameters():
        if parameter.ndim < 2:
            vectors.append(parameter)
        elif "embeddings" in name or "decoder" in name:
            tables.append(parameter)
        else:
            matrices.append(parameter)
    muon = getattr(torch.optim, "Muon", None)
    decay = recipe.weight_decay
    first: torch.optim.Optimizer = (
        muon(matrices, lr=recipe.matrix_rate, weight_decay=decay, adjust_lr_fn="match_rms_adamw")
        if muon is not None
        else torch.optim.AdamW(
            matrices, lr=recipe.matrix_rate, weight_decay=decay, betas=(0.9, 0.98), fused=True
        )
    )
    return [
        first,
        torch.optim.AdamW(
            [
                {"params": tables, "weight_decay": decay},
                {"params": vectors, "weight_decay": 0.0},
            ],
            lr=recipe.other_rate,
            betas=(0.9, 0.98),
            fused=True,
        ),
    ]


class Trainer:
    """One run, from its start or from its last checkpoint."""

    def __init__(
        self,
        config: ModernBertConfig,
        tokenizer: Tokenizer,
        texts: TokenizedTexts,
        recipe: Recipe,
        out: Path,
        *,
        device: torch.device | str = "cpu",
        bf16: bool = True,
        compiled: bool = False,
        resume: bool = False,
        start: Path | None = None,
    ) -> None:
        """Builds model and optimisers; with `resume`, takes up the state in `out`.

        `start` is a model folder whose weights a new run begins with, in place of random ones.

        Raises:
            ModelError: the state in `out` is of another model or recipe, or unreadable.
            TextError: no token of the texts can be hidden.
        """
        self.config, self.tokenizer, self.recipe, self.out = config, tokenizer, recipe, out
        self.texts, self.bf16 = texts, bf16
        self._ids = special_ids(tokenizer)
        check_words(texts, list(self._ids.values()))
        self.device = torch.device(device)
        self.rank = dist.get_rank() if dist.is_initialized() else 0
        self.world = dist.get_world_size() if dist.is_initialized() else 1
        torch.manual_seed(recipe.seed)
        # Opened first: a config.json that asks for too much is refused by the weights beside it.
        begun = None if start is None else load_model(start, ModernBertForMaskedLM)
        self.model = ModernBertForMaskedLM(config).to(self.device)
        if begun is not None:
            self.model.load_state_dict(begun.state_dict())
        self.optimizers = build_optimizers(self.model, recipe)
        self.clock = Clock()
        self._stop = False
        self.history = History(out)
        if resume and (state := load_state(out)) is not None:
            self._take_up(state)
        self.history.keep_until(self.clock.step, write=self.rank == 0)
        fault = find_compile_fault(self.device) if compiled else None
        self.notice, compiled = fault, compiled and fault is None
        loss: nn.Module = MaskedLoss(self.model, compiled=compiled)
        if self.world > 1:
            loss = DistributedDataParallel(loss)
        self.loss = loss
        if compiled:
            # Each layer for one row length a stage and one mask shape: twice as fast on two cores.
            torch._dynamo.config.recompile_limit = 64
            for layer in self.model.model.layers:
                layer.compile(dynamic=False)
        self._open_stream()

    def _take_up(self, state: dict[str, Any]) -> None:
        for name, value in self._identity().items():
            if state[name] != value:
                raise ModelError(
                    f"{self.out} was begun with another {name}; resume with the options it was "
                    "begun with, or give another --out."
                )
        try:
            self.model.load_state_dict(state["model"])
            for optimizer, kept in zip(self.optimizers, state["optimizers"], strict=True):
                optimizer.load_state_dict(kept)
            self.clock = Clock(**(state["clock"] | {"place": Place(**state["clock"]["place"])}))
        except (LookupError, RuntimeError, TypeError, ValueError) as error:
            why, path = shortened(" ".join(str(error).split()), 200), self.out / STATE_FILE
            raise ModelError(f"{path} can't be taken up ({why}); give another --out.") from None

    def _identity(self) -> dict[str, Any]:
        """What must be the same for a run to go on."""
        return {
            "config": self.config.to_dict(),
            "recipe": self.recipe.to_dict(),
            "corpus": self.texts.fingerprint,
        }

    def save(self) -> None:
        """Writes state and model folder to `out` (the first process alone).

        Raises:
            OutputError: they can't be written; the last checkpoint is unharmed.
        """
        if self.rank:
            return
        save_state(
            self.out,
            self._identity()
            | {
                "model": self.model.state_dict(),
                "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
                "clock": asdict(self.clock),
            },
        )
        save_model_folder(self.out, self.model, self.tokenizer)

    def run(
        self,
        budget: Budget,
        *,
        checkpoint_minutes: float = 3.0,
        save_every: int | None = None,
        on_step: Callable[[Report], None] = lambda report: None,
    ) -> None:
        """Trains until the budget is spent; saves on the way, at the end, and when interrupted.

        Args:
            budget: steps or minutes, counted from the start of the run, over all its parts.
            checkpoint_minutes: time between checkpoints.
            save_every: steps between snapshots `out/step-N`, model folders that stay; None for no
                snapshots.
            on_step: called after every step.

        Raises:
            OutputError: a checkpoint can't be written.
            MbexploreError: the loss is no longer a number.
        """
        saved, started = time.monotonic(), time.monotonic() - self.clock.seconds
        self.model.train()
        with self._stopping_on_interrupt():
            while (progress := self._agreed(budget)) < 1.0:
                factor = rate_factor(self.recipe, self.clock.step, progress)
                began = time.monotonic()
                loss = self._step(factor, progress)
                self.clock.seconds = time.monotonic() - started
                self.clock.step += 1
                speed = self.recipe.batch_tokens / (time.monotonic() - began)
                done = budget.progress(self.clock.step, self.clock.seconds)
                report = Report(self.clock.step, loss, done, speed, self.clock.seconds)
                self._tell(report, factor, on_step)
                if save_every and self.clock.step % save_every == 0 and self.rank == 0:
                    folder = self.out / f"step-{self.clock.step}"
                    save_model_folder(folder, self.model, self.tokenizer)
                if time.monotonic() - saved > 60 * checkpoint_minutes:
                    self.save()
                    saved = time.monotonic()
        self.save()
        if self._stop:
            raise KeyboardInterrupt

    def _step(self, factor: float, progress: float) -> float:
        recipe = self.recipe
        if not self.clock.long and progress >= 1.0 - recipe.long_part:
            self.clock.long, self.clock.place = True, Place(epoch=1_000)
            self._open_stream()
        for optimizer, rate in zip(
            self.optimizers, (recipe.matrix_rate, recipe.other_rate), strict=True
        ):
            for group in optimizer.param_groups:
                group["lr"] = rate * factor
        batch = self._draw()
        masked = max(1, len(batch.labels))  # a batch may have nothing to hide
        part = rank_part(batch, self.rank, self.world)
        with self._precision():
            loss: Tensor = self.loss(*self._tensors(part)) * (self.world / masked)
        torch.autograd.backward(loss)
        total = loss.detach() / self.world  # this process's share
        if self.world > 1:
            dist.all_reduce(total)
        value = float(total)
        if not math.isfinite(value):
            raise MbexploreError(
                f"The loss is {value} at step {self.clock.step:,}; start again with a lower --rate."
            )
        nn.utils.clip_grad_norm_(self.model.parameters(), recipe.clip)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.clock.place = self.stream.place
        self.clock.tokens += int((batch.segments > 0).sum())
        return value

    def _draw(self) -> Batch:
        length = self.stream.pieces.length
        rows = max(self.world, self.recipe.batch_tokens // length)
        ids, segments = self.stream.take(rows)
        return mask_rows(
            ids,
            segments,
            rate=self.recipe.mask_rate,
            mask_id=self._ids["[MASK]"],
            special_ids=list(self._ids.values()),
            seed=[self.recipe.seed, self.clock.step, 3],
        )

    def _open_stream(self) -> None:
        length = self.recipe.long_length if self.clock.long else self.recipe.length
        self.stream = RowStream(
            cut_pieces(self.texts, length),
            cls_id=self._ids["[CLS]"],
            sep_id=self._ids["[SEP]"],
            pad_id=self._ids["[PAD]"],
            seed=self.recipe.seed,
            place=self.clock.place,
        )

    def _tensors(self, batch: Batch) -> list[Tensor]:
        arrays = (batch.input_ids, batch.segments, batch.positions, batch.labels)
        return [torch.from_numpy(array.copy()).to(self.device) for array in arrays]

    def _precision(self) -> contextlib.AbstractContextManager[Any]:
        if self.bf16:
            return torch.autocast(self.device.type, torch.bfloat16)
        return contextlib.nullcontext()

    def _agreed(self, budget: Budget) -> float:
        """Progress by the first process's clock: all processes must stop at the same step."""
        progress = budget.progress(self.clock.step, self.clock.seconds)
        if self._stop:
            progress = math.inf
        if self.world == 1:
            return progress
        shared = torch.tensor(progress, dtype=torch.float64, device=self.device)
        dist.broadcast(shared, 0)
        return float(shared)

    def _tell(self, report: Report, factor: float, on_step: Callable[[Report], None]) -> None:
        if self.rank == 0:
            self.history.add(
                step=report.step,
                loss=report.loss,
                rate=self.recipe.matrix_rate * factor,
                tokens=self.clock.tokens,
                seconds=round(report.seconds, 2),
            )
            on_step(report)

    @contextlib.contextmanager
    def _stopping_on_interrupt(self) -> Iterator[None]:
        """Ctrl-C ends the run after the step at hand; a second one ends it at once, unsaved."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.getsignal(signal.SIGINT)

        def stop(number: int, frame: object) -> None:
            self._stop = True
            signal.signal(signal.SIGINT, before)

        signal.signal(signal.SIGINT, stop)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)
