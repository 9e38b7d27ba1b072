"""A board: its variables, its rows, and the links that all boards share."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from grafana_foundation_sdk.builders import dashboard as dashboards
from grafana_foundation_sdk.models.dashboard import (
    Dashboard,
    DashboardCursorSync,
    DashboardLinkType,
    VariableModel,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.shards import SHARDS
from mailwarren.dashboards.panels import DATASOURCE, RUNBOOKS, Shown

FLOWER = "${flower}"
ALL = VariableOption(selected=True, text="All", value="$__all")


def _asked(name: str, label: str, query: str) -> dashboards.QueryVariable:
    """A choice that Prometheus fills."""
    asked = dashboards.QueryVariable(name).label(label).query({"query": query, "refId": name}).datasource(DATASOURCE)
    asked.refresh(VariableRefresh.ON_TIME_RANGE_CHANGED).sort(VariableSort.ALPHABETICAL_ASC)
    return asked.multi(True).include_all(True).all_value(".*").current(ALL)


def _fixed(name: str, label: str, values: Sequence[str]) -> dashboards.CustomVariable:
    """A choice that is known beforehand."""
    known = dashboards.CustomVariable(name).label(label).values(",".join(values))
    return known.multi(True).include_all(True).all_value(".*").current(ALL)


def _variables() -> dict[str, dashboards.QueryVariable | dashboards.CustomVariable]:
    return {
        "namespace": _asked("namespace", "Namespace", "label_values(mailwarren_tracker_database_up, namespace)"),
        "broker": _asked("broker", "Broker's namespace", "label_values(rabbitmq_build_info, namespace)"),
        "lane": _fixed("lane", "Lane", tuple(Lane)),
        "shard": _fixed("shard", "Shard", SHARDS),
        "provider": _asked("provider", "Provider", "label_values(mailwarren_sender_attempts_total, provider)"),
        "fleet": _asked("fleet", "Fleet", "label_values(mailwarren_sender_info, fleet)"),
    }


@dataclass(frozen=True)
class Row:
    """Panels under a heading.

    Attributes:
        collapsed: closed at first.
    """

    title: str
    panels: Sequence[Shown]
    collapsed: bool = False


@dataclass(frozen=True)
class Board:
    """One dashboard.

    Attributes:
        name: of its file, and with ``mailwarren-`` its uid: links go by it, so it does not change.
        variables: beside the data source, in the order in which they stand.
        flower: whether it links to Flower, under an address that people put in.
    """

    name: str
    title: str
    about: str
    variables: Sequence[str]
    rows: Sequence[Row]
    since: str = "now-3h"
    refresh: str = "30s"
    tags: Sequence[str] = field(default=("mailwarren",))
    flower: bool = False

    @property
    def uid(self) -> str:
        """What links name."""
        return f"mailwarren-{self.name}"

    def build(self) -> Dashboard:
        """As Grafana knows it."""
        made = dashboards.Dashboard(f"Mailwarren / {self.title}").uid(self.uid).description(self.about)
        made.tags(list(self.tags)).timezone("browser").time(self.since, "now").refresh(self.refresh)
        made.tooltip(DashboardCursorSync.CROSSHAIR).editable()
        source = dashboards.DatasourceVariable("datasource").label("Data source").type("prometheus")
        chosen: list[dashboards.Builder[VariableModel]] = [source]  # type: ignore[name-defined]
        known = _variables()
        runbooks = dashboards.TextBoxVariable("runbooks").label("Runbooks at").default_value("docs/runbooks")
        made.variables([*chosen, *(known[name] for name in self.variables), runbooks])
        if self.flower:
            place = dashboards.TextBoxVariable("flower").label("Flower at").default_value("http://localhost:5555")
            made.with_variable(place)
        boards = dashboards.DashboardLink("Mailwarren").type(DashboardLinkType.DASHBOARDS).tags(["mailwarren"])
        made.link(boards.as_dropdown(True).include_vars(True).keep_time(True))
        pages = dashboards.DashboardLink("Runbooks").type(DashboardLinkType.LINK).icon("doc")
        pages.url(f"{RUNBOOKS}/README.md")
        made.link(pages.target_blank(True).tooltip("What to do for each alert"))
        if self.flower:
            page = dashboards.DashboardLink("Flower").type(DashboardLinkType.LINK).icon("external link")
            made.link(page.url(FLOWER).target_blank(True).tooltip("Workers and their orders, one by one"))
        number = 0
        for row in self.rows:
            number += 1
            heading = dashboards.Row(row.title).id(number).collapsed(row.collapsed)
            built = []
            for panel in row.panels:
                number += 1
                built.append(panel.build(number))
            # Panels of a closed row lie inside of it, those of an open one behind it.
            if row.collapsed:
                for one in built:
                    heading.with_panel(one)
            made.with_row(heading)
            if not row.collapsed:
                for one in built:
                    made.with_panel(one)
        return made.build()
