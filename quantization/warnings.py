"""What a user should know about a quantised decoder before it hurts: one line a finding, with the tensors and a remedy."""

from collections.abc import Iterable, Sequence

from quantization.summaries import Row, ScoredBins

SATURATED_SHARE = 0.001
LEAST_SQNR_DB = 20.0
MOST_NRMSE = 0.02
MOST_R2_LOSS = 0.005
NAMED = 3  # tensors in a line

_OUTLIERS = "look for channels with outliers ('realm-edge data inspect'), or decay the weights more (finetune.weight_decay)"
_WIDER = "; int16 activations err less (quantize.activations)"


def warnings(rows: Sequence[Row], scores: ScoredBins) -> list[str]:
    """Lines, most telling first.

    Args:
        rows: the decoder's tensor table.
        scores: on held-out bins.
    """
    found = []
    wider = _WIDER if any(row.kind == "activation" and row.dtype == "int8" for row in rows) else ""
    if scores.nrmse_int8_float > MOST_NRMSE:
        if scores.nrmse_frontend > scores.nrmse_decoder:
            cause = f"integer features make {_percent(scores.nrmse_frontend)} of it: those near a threshold or a rail change most"
        else:
            worst = sorted(rows, key=lambda row: -row.nrmse_alone)
            cause = f"most comes from {_named((row, _percent(row.nrmse_alone)) for row in worst)}: {_OUTLIERS}{wider}"
        found.append(f"int8 differs from float by {_percent(scores.nrmse_int8_float)} (NRMSE; aim: {_percent(MOST_NRMSE)}); {cause}")
    loss = scores.r2.float - scores.r2.int8
    if loss > MOST_R2_LOSS:
        found.append(
            f"int8 loses {loss:.3f} of R2 (aim: {MOST_R2_LOSS}); see the tensors with the largest NRMSE in calibration.json{wider}"
        )
    clipped = [row for row in rows if (row.saturated or 0.0) > SATURATED_SHARE]
    if clipped:
        clipped.sort(key=lambda row: -(row.saturated or 0.0))
        named = _named((row, _percent(row.saturated or 0.0)) for row in clipped)
        found.append(f"more than {_percent(SATURATED_SHARE)} of the values at the rail: {named}; {_OUTLIERS}")
    noisy = [row for row in rows if row.sqnr_db is not None and row.sqnr_db < LEAST_SQNR_DB]
    if noisy:
        named = _named((row, f"{row.sqnr_db:.1f} dB") for row in noisy)
        found.append(f"signal-to-quantisation-noise below {LEAST_SQNR_DB:g} dB, in order of the graph: {named}; {_OUTLIERS}")
    return found


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"


def _named(rows: Iterable[tuple[Row, str]]) -> str:
    every = [f"{row.tensor} ({text})" for row, text in rows]
    return ", ".join(every[:NAMED]) + (f" and {len(every) - NAMED} more" if len(every) > NAMED else "")
