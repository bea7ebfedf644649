"""FLOPs of models and peaks of GPUs: published figures recomputed, and common mistakes."""

import csv
from pathlib import Path

import pytest

from perwatt_aggregator.answers.compute.config import ModelConfig, PeakConfig, Precision
from perwatt_aggregator.answers.compute.peaks import TABLE, Peaks
from perwatt_aggregator.answers.compute.sizes import Sizes, flops_per_token

PUBLISHED = Path(__file__).parents[3] / "data" / "compute" / "llm_foundry_mfu.csv"


def published() -> list[dict[str, str]]:
    lines = [line for line in PUBLISHED.read_text().splitlines() if not line.startswith("#")]
    return list(csv.DictReader(lines))


def mfu_percent(row: dict[str, str], precision: Precision, size: ModelConfig) -> float:
    """The product's result for one published row."""
    peak, per_token = Peaks().of(row["gpu"], precision), flops_per_token(size)
    assert peak is not None
    assert per_token is not None
    achieved = float(row["tokens_per_second"]) * per_token
    return 100.0 * achieved / (peak.flops_per_second * int(row["gpus"]))


def size_of(row: dict[str, str]) -> ModelConfig:
    return ModelConfig(
        parameters_active=float(row["parameters"]),
        layers=float(row["layers"]),
        hidden=float(row["hidden"]),
        context=float(row["sequence"]),
        training=True,
    )


class TestPublished:
    @pytest.mark.parametrize("row", published(), ids=lambda row: f"{row['model']}-{row['sequence']}")
    def test_rows(self, row: dict[str, str]) -> None:
        """Trainings of 125M to 70B on A100 and H100, in bf16 and fp8: the printed MFU within 0.026 %."""
        precision: Precision = "fp8" if row["precision"] == "fp8" else "bf16"

        assert float(row["mfu_percent"]) == pytest.approx(
            mfu_percent(row, precision, size_of(row)), rel=0.00026
        )

    def test_precision(self) -> None:
        """A run in fp8 is compared with the peak of fp8; with that of bf16, it looks twice as good."""
        row = next(row for row in published() if row["precision"] == "fp8")

        assert 2.0 * float(row["mfu_percent"]) == pytest.approx(
            mfu_percent(row, "bf16", size_of(row)), rel=0.001
        )

    def test_attention(self) -> None:
        """Without attention, a small model with a long context has an eighth of its FLOPs."""
        row = next(row for row in published() if row["model"] == "125m")
        bare = ModelConfig(parameters_active=float(row["parameters"]), training=True)

        assert 6.82 == pytest.approx(mfu_percent(row, "bf16", bare), rel=0.01)
        assert 54.13 == float(row["mfu_percent"])


class TestSizes:
    def test_forward(self) -> None:
        """Serving needs 2 N + 4 L d s FLOPs per token, training three times that."""
        serving = ModelConfig(parameters_active=8e9, layers=32, hidden=4096, context=1000)
        training = ModelConfig(parameters_active=8e9, layers=32, hidden=4096, context=1000, training=True)

        assert 2 * 8e9 + 4 * 32 * 4096 * 1000 == flops_per_token(serving)
        assert 6 * 8e9 + 12 * 32 * 4096 * 1000 == flops_per_token(training)

    def test_no_size(self) -> None:
        """An entry without parameters gives a precision, not FLOPs."""
        assert flops_per_token(ModelConfig(precision="fp8")) is None

    def test_first_that_fits(self) -> None:
        """Entries are tried in order, by model and by workload; no size is derived from a name."""
        moe, other, mine = (
            ModelConfig(model="*mixtral*", parameters_active=12.9e9),
            ModelConfig(model="llama-*", parameters_active=8e9),
            ModelConfig(workload="train-*", parameters_active=1e9),
        )
        sizes = Sizes((moe, other, mine))

        assert (moe, other, mine) == (
            sizes.of("mistralai/mixtral-8x7b", "chat"),
            sizes.of("llama-3-8b", "train-1"),
            sizes.of("", "train-1"),
        )
        assert sizes.of("Llama-3-70b", "chat") is None


class TestPeaks:
    @pytest.mark.parametrize(
        ("gpu", "precision", "tera"),
        [
            ("NVIDIA H100 80GB HBM3", "bf16", 989.5),
            ("NVIDIA H100 80GB HBM3", "fp8", 1979.0),
            ("NVIDIA H200", "bf16", 989.5),
            ("NVIDIA A100-SXM4-80GB", "bf16", 312.0),
            ("A100-SXM4-80GB", "bf16", 312.0),
            ("NVIDIA L4", "fp8", 242.5),
            ("NVIDIA B200", "fp4", 9000.0),
            ("Tesla V100-SXM2-32GB", "fp16", 125.0),
        ],
    )
    def test_dense(self, gpu: str, precision: Precision, tera: float) -> None:
        """Dense peaks, by the names that drivers of any age give."""
        peak = Peaks().of(gpu, precision)

        assert peak is not None
        assert tera * 1e12 == peak.flops_per_second

    @pytest.mark.parametrize(
        ("gpu", "precision"),
        [
            ("NVIDIA A100-SXM4-80GB", "fp8"),  # Ampere has none
            ("Tesla V100-SXM2-32GB", "bf16"),
            ("NVIDIA A10G", "bf16"),  # another board than the A10
            ("NVIDIA H200 NVL", "bf16"),
            ("NVIDIA GeForce RTX 4090 Laptop GPU", "bf16"),
            ("", "bf16"),
        ],
    )
    def test_never_guessed(self, gpu: str, precision: Precision) -> None:
        """An unknown figure of a GPU is not taken from a GPU with a similar name."""
        assert Peaks().of(gpu, precision) is None

    def test_no_sparse_figure(self) -> None:
        """Halving the precision doubles a peak; a sparse figure among dense ones would stand out."""
        for board in TABLE:
            tera = board.tera
            for fine, coarse in (("tf32", "bf16"), ("bf16", "fp8"), ("bf16", "int8")):
                if fine in tera and coarse in tera:
                    assert tera[coarse] <= 2.1 * tera[fine], board.names  # type: ignore[index]

    def test_configured(self) -> None:
        """Configured peaks take precedence over the table, by precision and by pattern."""
        peaks = Peaks((PeakConfig(gpu="NVIDIA GH200*", bf16=900e12, nvlink_bytes_per_second=450e9),))
        gh200 = peaks.of("NVIDIA GH200 480GB", "bf16")

        assert gh200 is not None
        assert (900e12, "configured", 450e9) == (
            gh200.flops_per_second,
            gh200.source,
            peaks.nvlink_bytes_per_second("NVIDIA GH200 480GB"),
        )
        assert peaks.of("NVIDIA GH200 480GB", "fp8") is None
        assert peaks.nvlink_bytes_per_second("NVIDIA H100 PCIe") is None
