"""Thresholds of validity: where a figure stops being valid, and why there."""

_DAY_SECONDS = 86400.0

MIN_COVERAGE_RATIO = 0.95
"""Of a window, of a PUE's period, of carbon hours: the missing 5 % add 3 % of uncertainty (`of_window`)."""
MIN_EXPLAINED_RATIO = 0.95
"""Of a group's joules that belong to known work: joules of other work make ratios up to 5 % too low."""
MIN_READINGS = 4
"""In a window: with fewer than three intervals, one late reading shifts a large part of it."""
MAX_FEW_READINGS_RATIO = 0.05
"""Of a group's GPUs: a smaller share with too few readings does not make the group's figure doubtful."""
MAX_DIVERGENCE_RATIO = 0.2
"""Of a GPU's counter from its integrated power: good boards stay within 5 %, sampled power within 15 %."""
MAX_DISPUTED_RATIO = 0.05
"""Of a group's joules: a smaller share with a doubtful counter does not make the group's figure doubtful."""
MAX_LATE_RATIO = 0.02
"""Of a group's joules or tokens: more of them from before the window, beside work that has none, weigh too
much. Nothing else bounds this error, and simulated figures have no uncertainty that could hide it."""
MIN_METER_REFRESHES = 10
"""Of a meter in a window: the two ends, each uncertain by half a refresh, add 4 % (`of_window`)."""
MIN_ENDS_PER_RUNNING = 10.0
"""Request ends for each running request: unfinished requests are then at most a tenth of those that ended."""
MIN_SECONDS_WITHOUT_RUNNING = 300.0
"""Window length if the engine does not report running requests: ten times a request of half a minute."""
MAX_PUE_RATIO = 10.0
"""No facility uses ten times the energy of its IT: a larger ratio has a wrong unit or factor."""
MAX_PUE_AGE_SECONDS = 2 * 365 * _DAY_SECONDS
"""Of a stated measurement: an older one is not used."""
STALE_PUE_PERIOD_RATIO = 1 / 24
"""Of a live PUE's period: with a period of a day, it is stale if its newest reading is an hour old."""
MAX_GRAMS_PER_KWH = 20_000.0
"""No grid emits more, not even at the margin: a larger value has the wrong unit."""
MAX_PRICE_PER_KWH = 1e6
"""In any currency: a larger price has the wrong unit."""
