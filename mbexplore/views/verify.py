"""Every value of a forward pass beside that of transformers on the same weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from mbexplore.display.blocks import Block, Cell, Headline, Lines, Note, Row, Series, Table
from mbexplore.display.data import pick
from mbexplore.display.numbers import percent, significant
from mbexplore.errors import UsageError
from mbexplore.views.port_report import VERDICT, port_blocks, port_json, port_table
from mbexplore.views.shared import layer_names, listing, records
from mbexplore.views.view import Guide, View, cited, option

if TYPE_CHECKING:
    from mbexplore.reference.ports.compare import PortReport
    from mbexplore.reference.precision import PrecisionLoss
    from mbexplore.reference.verify import Check, Verification
    from mbexplore.session import Session

EXACT = 1e-10
"""Where exact agreement stands on a logarithmic axis."""


@dataclass(frozen=True)
class Parity:
    """Both sides compared.

    Attributes:
        verification: every check against transformers, and against what others published.
        precision_loss: what half precision costs beside float32; None in any other.
    """

    verification: Verification
    precision_loss: PrecisionLoss | None

    @property
    def checks(self) -> tuple[Check, ...]:
        """In the order of the forward pass."""
        return self.verification.checks


class VerifyView(View["Parity | PortReport"]):
    """Every layer against Hugging Face transformers (eager) on the same weights.

    The command exits with 1 if a value is beyond its tolerance. In half precision it also shows how
    far the answers are from those in float32, and ModernBERT-base is checked against the values
    that others published.

    --against compares another implementation of the same weights instead, on texts that show the
    faults which such implementations have, and tries the known faults where both differ:
    an .onnx file; an OpenVINO .xml; saved tensors, .safetensors or .npz, with input_ids (batch,
    seq); http://.../embed (Text Embeddings Inference), .../embeddings (OpenAI) or .../call/NAME
    (Gradio); python:module.function, called with input_ids and attention_mask as arrays (batch,
    seq), which returns a dict of arrays; command:..., which reads {"input_ids", "attention_mask"}
    as JSON and writes a safetensors file to standard output. Names of values: logits,
    last_hidden_state, hidden_states.N (0 the embeddings), attention.N, pooled. A server's vectors
    are compared as the model's folder pools, or as means.
    """

    name = "verify"
    title = "Parity"
    question = "Are the numbers those of Hugging Face?"
    guide = Guide(
        "Every layer's numbers beside those of Hugging Face on the same weights.",
        "A difference of 1e-5 is rounding; a value beyond its tolerance is marked and is a fault.",
        "Run the text in a batch with a padded one.",
        values={"padded": True},
    )
    evidence = "output"
    tested = "on the real thing, and with a fault planted at every layer"
    place = 5
    papers = cited("warner2024smarter")
    limits = "One text on one machine: rounding differs from one processor to another."
    sample = True
    example = "--long"

    long: bool = option("Repeat the text over several windows.", default=False)
    padded: bool = option("Run it in a batch with a padded row.", default=False)
    against: str | None = option(
        "Another implementation: a file, http://..., python:module.function or command:....",
        default=None,
        local=True,
    )
    suite: Literal["quick", "full"] = option(
        "Texts for --against; full has more lengths, up to the longest.",
        default="quick",
        local=True,
    )
    precision: Literal["float32", "float16", "bfloat16", "int8"] | None = option(
        "What the other side computes in, where it doesn't say.", default=None, local=True
    )

    def compute(self, session: Session) -> Parity | PortReport:
        """One forward pass on each side, or every text of a suite on another one."""
        if self.against not in (None, "transformers"):
            return self._compare(session)
        if self.suite != "quick" or self.precision:
            raise UsageError(
                "A suite and a precision are for another implementation; say which with against, "
                "or leave them out."
            )
        from mbexplore.reference.batches import build_batch
        from mbexplore.reference.precision import measure_loss
        from mbexplore.reference.published import add_published
        from mbexplore.reference.verify import verify

        explorer = session.explorer
        batch = build_batch(
            session.encoding.ids, explorer.model.config, long=self.long, padded=self.padded
        )
        result = add_published(explorer, verify(explorer, batch, session.progress))
        return Parity(result, measure_loss(explorer, batch))

    def _compare(self, session: Session) -> PortReport:
        from mbexplore.reference.ports.compare import compare
        from mbexplore.reference.ports.implementations import open_implementation
        from mbexplore.reference.ports.suite import build_suite

        assert self.against is not None
        if self.long or self.padded:
            raise UsageError(
                "long and padded have no effect beside another implementation, whose texts are "
                "a suite; leave them out."
            )
        explorer = session.explorer
        other = open_implementation(self.against, explorer.model.config)
        cases = build_suite(explorer, self.suite, session.encoding)
        return compare(explorer, other, cases, precision=self.precision, progress=session.progress)

    def failed(self, found: Parity | PortReport) -> bool:
        """Whether a value is beyond its tolerance."""
        return not (found.verification if isinstance(found, Parity) else found).passed

    def blocks(self, found: Parity | PortReport, session: Session) -> Iterator[Block]:
        """The verdict, the differences by layer, and every check."""
        if not isinstance(found, Parity):
            yield from port_blocks(found)
            return
        yield Headline(_verdict(found.verification))
        yield Row((
            _by_layer(found, session, "hidden state", "Hidden states"),
            _by_layer(found, session, "attention map", "Attention maps"),
        ))  # fmt: skip
        columns: dict[str, Any] = {"value": _name, "layer": _layer, **VERDICT}
        title = "Every value, from the logits down to the embeddings"
        yield listing(found.checks[::-1], columns, title)
        result, loss = found.verification, found.precision_loss
        if loss is not None:
            yield Note(
                f"Beside float32, the likeliest token is float32's at {percent(loss.same_answer)} "
                f"of {loss.tokens:,} tokens, mean KL {significant(loss.mean_kl, 2)} nats, largest "
                f"change of a probability {significant(loss.largest_change, 2)}."
            )
        yield Note(" ".join((
            "Largest: difference from transformers. Error: ours against float64, root mean square; "
            "allowed: from the error of transformers.",
            *result.notes,
        )))  # fmt: skip
        lengths = " and ".join(f"{length:,}" for length in result.tokens)
        yield Note(f"transformers {result.version} (eager) on {lengths} tokens. {self.limits}")

    def to_json(self, found: Parity | PortReport) -> dict[str, Any]:
        """Every check in the order of the forward pass, and the first that fails."""
        if not isinstance(found, Parity):
            return port_json(found)
        result = found.verification
        first = result.first_mismatch
        return pick(result, "tokens", "passed", "notes", transformers="version") | {
            "precision_loss": found.precision_loss,
            "first_mismatch": first and pick(first, "what", "layer"),
            "checks": [dataclasses.asdict(one) | {"passed": one.passed} for one in found.checks],
        }

    def table(self, found: Parity | PortReport, session: Session) -> Table:
        """A row for each check, in the order of the forward pass."""
        if not isinstance(found, Parity):
            return port_table(found)
        return records(found.checks, "passed")


def _by_layer(found: Parity, session: Session, what: str, title: str) -> Lines:
    checks = [one for one in found.checks if one.what == what and one.layer is not None]
    ours = Series("our error", tuple(max(one.error, EXACT) for one in checks), dots=True)
    allowed = Series("allowed", tuple(one.tolerance for one in checks), dashed=True)
    title = f"{title}: error against float64, root mean square"
    names = layer_names(session)
    return Lines((ours, allowed), title, y="error", log_y=True, ticks=names)


def _verdict(found: Verification) -> str:
    largest = max(found.checks, key=lambda one: one.max_abs)
    first = found.first_mismatch
    if first is None:
        return (
            f"PASS: every value is within its tolerance of transformers {found.version}; the "
            f"largest difference is {significant(largest.max_abs, 2)}."
        )
    where = "outside the layers" if first.layer is None else f"in layer {first.layer}"
    return f"FAIL: the two part {where}, at the {first.what}."


def _name(check: Check) -> str:
    is_first = check.what == "hidden state" and check.layer is None
    return "embeddings" if is_first else check.what


def _layer(check: Check) -> Cell:
    if check.layer is None:
        return Cell(None, " ")
    window = "" if check.half_window is None else f" \N{PLUS-MINUS SIGN}{check.half_window}"
    return Cell(check.layer, f"{check.layer} {check.kind}{window}", hue=check.kind or "plain")
