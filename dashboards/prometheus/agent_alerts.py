"""Alerts on agents and the aggregator: what is measured no longer, and what measures badly."""

from rules_model import Alert, Group

# A target is an agent if it showed this within a day, whatever its job is called. A target that never
# answered is one if all others of its job are.
AGENT = "perwatt_backend_up"
AGENT_DOWN = f"""
(up == 0 and on (job, instance) last_over_time({AGENT}[1d]))
or
(
  up == 0
  and on (job) {AGENT}
  unless on (job) (up == 1 unless on (job, instance) {AGENT})
)
"""

STALE_MINUTES = 3

AGENTS = Group(
    "perwatt-agents",
    (
        Alert(
            "PerwattAgentDown",
            "critical",
            "5m",
            AGENT_DOWN,
            summary="A perwatt agent has not answered for 5 minutes.",
            detail="{{ $labels.instance }} does not answer scrapes.",
            action="On that node, run `systemctl status perwatt-agent`, then `journalctl -u "
            "perwatt-agent`. Its counters continue by themselves when it is back.",
            meaning="Nothing is known about the node: its tokens and joules are missing from all sums, so "
            "fleet figures cover fewer nodes than there are.",
            check="`up{job=..., instance=...}` is 0; Prometheus's page Status > Targets shows the error of "
            "the scrape.",
            ignore="The node is switched off on purpose. Take it out of service discovery: the alert then "
            "ends at once.",
        ),
        Alert(
            "PerwattAgentsMissing",
            "critical",
            "10m",
            f"absent(up and on (job) group by (job) (last_over_time({AGENT}[1d])))",
            summary="Prometheus has found no perwatt agent to scrape for 10 minutes.",
            detail="No scrape job has shown a perwatt agent within a day, or its job is gone.",
            action="Check Prometheus's service discovery page, and `scrape_configs` for a job with the "
            "agents' port 9836.",
            meaning="Prometheus has lost sight of the whole fleet, so no other alert of perwatt can fire.",
            check=f"`count(last_over_time({AGENT}[1d]))` is empty.",
            ignore="perwatt is not installed yet. Remove the rule files until it is.",
        ),
        Alert(
            "PerwattAgentVanished",
            "warning",
            "15m",
            """
            group by (job, instance, agent) (last_over_time(perwatt_agent_info[6h]))
            unless on (agent) perwatt_agent_info
            unless on (job, instance) up
            """,
            summary="An agent of the past hours is no longer a target of Prometheus.",
            detail="{{ $labels.instance }} was scraped within 6 hours, and service discovery does not list "
            "it any more.",
            action="If the node still exists, bring it back into service discovery or `static_configs`.",
            meaning="A node that discovery forgets gives no failed scrape, so PerwattAgentDown is silent. "
            "An agent is recognised by its id, so that a new address is no loss.",
            check="`last_over_time(perwatt_agent_info[6h])` has the agent, `perwatt_agent_info` and `up` "
            "do not.",
            ignore="The node was removed on purpose: the alert ends six hours later. Agents without a "
            "writable `data_dir` have no id and never raise it.",
        ),
        Alert(
            "PerwattAgentScrapedTwice",
            "warning",
            "15m",
            "count by (agent) (group by (job, instance, agent) (perwatt_agent_info)) > 1",
            summary="One agent is two targets of Prometheus.",
            detail="The agent {{ $labels.agent }} is scraped as {{ $value }} targets.",
            action="Remove one of the scrape jobs or addresses. If they are two nodes, one was copied from "
            "the other with its `data_dir`: delete the file `agent_id` there and restart its agent.",
            meaning="Its tokens and joules count twice in all sums over nodes. Ratios stay right.",
            check="`perwatt_agent_info{agent=...}` has two series.",
            ignore="Never: the sums over models, racks, clusters and facilities are wrong meanwhile.",
        ),
        Alert(
            "PerwattBackendDown",
            "critical",
            "5m",
            f"{AGENT} == 0",
            summary="An agent has run without its GPU driver for 5 minutes.",
            detail="{{ $labels.instance }} cannot reach the GPU driver.",
            action="Run `nvidia-smi` and `perwatt doctor` there. In a container, restart it: it loses the "
            "device after a change of its cgroup.",
            meaning="The agent answers, but it has no reading of any GPU. Joules of this time are missing "
            "where the driver lost its counters.",
            check="`perwatt_backend_up` is 0, and `perwatt_collector_failures_total` has the reason.",
            ignore="The driver is being updated, or the agent plays a recording (`--backend replay:FILE`) "
            "that has ended.",
        ),
        Alert(
            "PerwattSnapshotStale",
            "critical",
            "2m",
            f"""
            changes(perwatt_snapshot_timestamp_seconds[{STALE_MINUTES}m]) == 0
            and count_over_time(perwatt_snapshot_timestamp_seconds[{STALE_MINUTES}m]) > 1
            and on (job, instance) perwatt_snapshot_timestamp_seconds > 0
            """,
            summary="An agent answers, but with the same readings for more than 3 minutes.",
            detail="The snapshot of {{ $labels.instance }} does not change.",
            action="Restart perwatt-agent on that node, and report its log.",
            meaning="Whatever the page shows is old. The alert compares no clocks: a wrong clock does not "
            "raise it.",
            check="`perwatt_snapshot_timestamp_seconds` stands still from scrape to scrape.",
            ignore="Never. An agent that has not read anything yet does not raise it.",
        ),
        Alert(
            "PerwattClockWrong",
            "info",
            "15m",
            """
            abs(timestamp(perwatt_snapshot_timestamp_seconds) - perwatt_snapshot_timestamp_seconds) > 30
            and changes(perwatt_snapshot_timestamp_seconds[3m]) > 0
            """,
            summary="The clocks of an agent and of Prometheus have differed by more than 30 seconds for 15 "
            "minutes.",
            detail="The clock of {{ $labels.instance }} differs by {{ $value | humanizeDuration }}.",
            action="Check `chronyc tracking` or `timedatectl` on that node, and on the machine of "
            "Prometheus if all nodes differ.",
            meaning="Joules and tokens stay right. Times of XID errors and events are off by as much.",
            check="`time() - perwatt_snapshot_timestamp_seconds` is far from 0 and constant.",
            ignore="Nobody compares events of this node with those of others.",
        ),
        Alert(
            "PerwattScrapeSlow",
            "warning",
            "15m",
            f"avg_over_time(scrape_duration_seconds[10m]) > 5 and on (job, instance) {AGENT}",
            summary="Scrapes of an agent have taken more than 5 seconds for 15 minutes.",
            detail="Scrapes of {{ $labels.instance }} take {{ $value | humanizeDuration }}.",
            action="Check CPU limits of the agent (`CPUQuota`, `resources.limits`), the load of the node, "
            "and the network. A page takes milliseconds.",
            meaning="At Prometheus's default timeout of 10 s, the agent will soon count as down.",
            check="`scrape_duration_seconds{instance=...}`; compare with `time curl -s NODE:9836/metrics` "
            "on the node.",
            ignore="Scrapes cross a slow link, and `scrape_timeout` is adapted to it.",
        ),
        Alert(
            "PerwattCollectorSlow",
            "warning",
            "10m",
            "avg_over_time(perwatt_collector_duration_seconds[10m]) > 5",
            summary="A collector of an agent has needed more than 5 seconds for each reading for 10 minutes.",
            detail="{{ $labels.collector }} on {{ $labels.instance }} takes {{ $value | humanizeDuration }}.",
            action="Read the same source by hand: the engine's /metrics, the BMC, the meter. Raise its "
            "interval if it cannot be faster.",
            meaning="Its readings are rarer than configured, so short windows get fewer of them.",
            check="`perwatt_collector_duration_seconds` by `collector`.",
            ignore="A BMC that is known to be slow, with a meter interval of a minute or more.",
        ),
        Alert(
            "PerwattCollectorFailing",
            "warning",
            "15m",
            # Hardware that a node does not have is not a failure: such a meter is tried again once a minute.
            """
            perwatt_collector_success == 0
            unless on (job, instance, collector)
            increase(perwatt_collector_failures_total{reason="absent"}[15m]) > 0
            """,
            summary="A collector of an agent has failed for 15 minutes.",
            detail="{{ $labels.collector }} on {{ $labels.instance }} fails, and its metrics are absent.",
            action="See `perwatt_collector_failures_total` for the reason, docs/failures.md for what it "
            "means, and the agent's log for what to do.",
            meaning="What this collector reads is missing from the page. The others go on.",
            check="`perwatt_collector_success` is 0, and a `reason` of `perwatt_collector_failures_total` "
            "increases.",
            ignore="The engine or meter is switched off on purpose. Remove it from agent.yaml if it stays "
            "so.",
        ),
    ),
)

AGGREGATOR = Group(
    "perwatt-aggregator",
    (
        Alert(
            "PerwattAggregatorTargetDown",
            "warning",
            "10m",
            "perwatt_aggregator_target_up == 0",
            summary="The aggregator has not reached an agent for 10 minutes.",
            detail="The aggregator {{ $labels.instance }} cannot scrape {{ $labels.node }}.",
            action="See `perwatt_aggregator_target_failures_total` for the reason, and docs/failures.md "
            "for its meaning. If Prometheus reaches the agent, check the network and the credentials of "
            "the aggregator.",
            meaning="The aggregator's figures of this node are not valid, and fleet figures lack it.",
            check="`perwatt_aggregator_target_up` by `node`, and `GET /v1/nodes` of the aggregator.",
            ignore="The node is switched off on purpose. Remove it from `sources`.",
        ),
        Alert(
            "PerwattAggregatorDiscoveryFailing",
            "warning",
            "15m",
            "perwatt_aggregator_discovery_up == 0",
            summary="A source of targets of the aggregator has failed for 15 minutes.",
            detail="{{ $labels.setting }} of {{ $labels.instance }} cannot be read; its last good list is "
            "used.",
            action="Check that file, URL or DNS name from the machine of the aggregator; its log has the "
            "error.",
            meaning="New nodes are not found, and removed ones are still expected.",
            check="`perwatt_aggregator_discovery_up` is 0 for the setting.",
            ignore="The list of nodes does not change meanwhile.",
        ),
        Alert(
            "PerwattHistoryDegraded",
            "warning",
            "10m",
            "perwatt_history_up == 0",
            summary="The aggregator has not kept its history for 10 minutes.",
            detail="The history of {{ $labels.instance }} loses ticks; live answers go on.",
            action="See `perwatt_history_failures_total` for the reason. If the disk is full, free space or "
            "lower `history.max_bytes`; else the aggregator's log has the error.",
            meaning="Answers over this time will lack it for ever, and windows that contain it are not "
            "valid.",
            check="`perwatt_history_up` is 0, and a `reason` of `perwatt_history_failures_total` increases.",
            ignore="Prometheus keeps the agents' metrics, and nobody asks the aggregator for the past.",
        ),
        Alert(
            "PerwattMeterRejected",
            "warning",
            "15m",
            "perwatt_node_meter_up == 0",
            summary="The readings of a node's meter have been refused for 15 minutes.",
            detail="{{ $labels.meter }} on {{ $labels.instance }} answers, and its numbers cannot be right.",
            action="See `perwatt_node_meter_rejections_total` for the reason. Check unit and factor of the "
            "meter in agent.yaml.",
            meaning="The node has no joules from this meter, so its figures at the node boundary are "
            "missing.",
            check="`perwatt_node_meter_up` is 0, and a `reason` of `perwatt_node_meter_rejections_total` "
            "increases.",
            ignore="Another meter of the same node is in use (`perwatt_node_energy_joules_total` has its "
            "source).",
        ),
        Alert(
            "PerwattFacilityMeterFailing",
            "warning",
            "15m",
            "perwatt_facility_meter_success == 0",
            summary="A meter or rate of a facility has failed for 15 minutes.",
            detail="{{ $labels.meter }} of {{ $labels.facility }} cannot be read by {{ $labels.instance }}.",
            action="Read it by hand with the URL and credentials in aggregator.yaml; the aggregator's log "
            "has the error.",
            meaning="A live PUE is replaced by `facility.pue.ratio`, or is missing. Without a price or a "
            "carbon rate there is no cost or carbon.",
            check="`perwatt_facility_meter_success` is 0; "
            "`perwatt_facility_meter_last_success_timestamp_seconds` says since when.",
            ignore="Maintenance of the meter.",
        ),
    ),
)
