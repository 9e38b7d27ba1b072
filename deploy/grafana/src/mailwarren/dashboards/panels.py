"""The kinds of panel that boards are made of, each with a title, what it shows, and what to do when it looks bad."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from grafana_foundation_sdk.builders import bargauge, common, heatmap, prometheus, stat, table, timeseries
from grafana_foundation_sdk.builders import dashboard as dashboards
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common as options
from grafana_foundation_sdk.models.dashboard import (
    DashboardLinkType,
    DataSourceRef,
    DataTransformerConfig,
    DynamicConfigValue,
    FieldColorModeId,
    Panel,
    Threshold,
    ThresholdsMode,
)
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from mailwarren.dashboards.palette import GREEN, RED, YELLOW
from mailwarren.dashboards.queries import Query

DATASOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
RUNBOOKS = "${runbooks}"
"""A box on every board: where people read the repository is for who installs it to say."""


@dataclass(frozen=True)
class Limits:
    """From where on a value is a warning, and from where on it is bad.

    Attributes:
        below: the other way round: small values are bad.
    """

    warning: float | None = None
    bad: float | None = None
    below: bool = False

    def steps(self) -> list[Threshold]:
        """In Grafana's words: a colour holds from its value upwards."""
        pairs = [(self.warning, YELLOW), (self.bad, RED)]
        given = sorted((value, colour) for value, colour in pairs if value is not None)
        if not self.below:
            return [Threshold(color=GREEN), *(Threshold(value=value, color=colour) for value, colour in given)]
        # Red up to the first value, yellow up to the second, green from there on.
        colours = [colour for _, colour in given] + [GREEN]
        lows = [None, *(value for value, _ in given)]
        return [Threshold(value=low, color=colour) for low, colour in zip(lows, colours, strict=True)]


NONE = Limits()
ANY_IS_BAD = Limits(bad=1)


@dataclass(frozen=True)
class Shown(ABC):
    """What every kind of panel has.

    Attributes:
        shows: what it is.
        bad: what to do when it looks bad.
        runbook: name of an alert, and of its page in ``docs/runbooks``.
        width: of 24 columns.
    """

    title: str
    queries: tuple[Query, ...]
    shows: str
    bad: str
    unit: str
    runbook: str = ""
    limits: Limits = NONE
    colours: Mapping[str, str] = field(default_factory=dict)
    width: int = 12
    height: int = 8
    decimals: int | None = None

    def dress(self, panel: Any, number: int) -> Any:
        """Sets what all kinds have in common."""
        panel.id(number).title(self.title).description(f"{self.shows}\n\n**When it looks bad:** {self.bad}")
        panel.datasource(DATASOURCE).unit(self.unit).span(self.width).height(self.height)
        steps = dashboards.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(self.limits.steps())
        panel.thresholds(steps)
        if self.decimals is not None:
            panel.decimals(self.decimals)
        for name, colour in self.colours.items():
            fixed = DynamicConfigValue(id_val="color", value={"mode": "fixed", "fixedColor": colour})
            panel.override_by_name(name, [fixed])
        if self.runbook:
            link = dashboards.DashboardLink(f"Runbook: {self.runbook}").type(DashboardLinkType.LINK).target_blank(True)
            panel.links([link.url(f"{RUNBOOKS}/{self.runbook}.md")])
        for position, query in enumerate(self.queries):
            panel.with_target(self.target(query, chr(ord("A") + position)))
        return panel

    def target(self, query: Query, ref: str) -> prometheus.Dataquery:
        """The query in Grafana's form."""
        made = prometheus.Dataquery().expr(query.expr).ref_id(ref).legend_format(query.legend or "__auto")
        made.datasource(DATASOURCE)
        return made.instant() if query.instant else made.range()

    @abstractmethod
    def build(self, number: int) -> Builder[Panel]:
        """The panel with its number on the board."""


@dataclass(frozen=True)
class Graph(Shown):
    """Lines over time; with ``stacked`` areas that add up."""

    stacked: bool = False
    lowest: float | None = 0

    def build(self, number: int) -> Builder[Panel]:
        """As a time series."""
        panel = self.dress(timeseries.Panel(), number)
        panel.line_width(1).fill_opacity(35 if self.stacked else 8).show_points(options.VisibilityMode.NEVER)
        if self.lowest is not None:
            panel.axis_soft_min(self.lowest)
        if self.stacked:
            panel.stacking(common.StackingConfig().mode(options.StackingMode.NORMAL).group("A"))
        if self.limits != NONE:
            style = common.GraphThresholdsStyleConfig().mode(options.GraphTresholdsStyleMode.DASHED)
            panel.thresholds_style(style)
        legend = common.VizLegendOptions().show_legend(True).placement(options.LegendPlacement.BOTTOM)
        panel.legend(legend.display_mode(options.LegendDisplayMode.TABLE).calcs(["lastNotNull", "max"]))
        tooltip = common.VizTooltipOptions().mode(options.TooltipDisplayMode.MULTI)
        return panel.tooltip(tooltip.sort(options.SortOrder.DESCENDING))  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Number(Shown):
    """A big number with its course behind it."""

    width: int = 4
    height: int = 4
    reduce: str = "lastNotNull"

    def build(self, number: int) -> Builder[Panel]:
        """As a stat."""
        panel = self.dress(stat.Panel(), number)
        instant = all(query.instant for query in self.queries)
        panel.graph_mode(options.BigValueGraphMode.NONE if instant else options.BigValueGraphMode.AREA)
        coloured = options.BigValueColorMode.NONE if self.limits == NONE else options.BigValueColorMode.VALUE
        several = len(self.queries) > 1 or "{{" in self.queries[0].legend
        text = options.BigValueTextMode.VALUE_AND_NAME if several else options.BigValueTextMode.VALUE
        panel.color_mode(coloured).text_mode(text).no_value("none")
        return panel.reduce_options(common.ReduceDataOptions().calcs([self.reduce]).values(False))  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Bars(Shown):
    """One bar for each series, by its newest value."""

    def build(self, number: int) -> Builder[Panel]:
        """As a bar gauge."""
        panel = self.dress(bargauge.Panel(), number).min(0)
        panel.orientation(options.VizOrientation.HORIZONTAL).display_mode(options.BarGaugeDisplayMode.BASIC)
        mode = FieldColorModeId.PALETTE_CLASSIC if self.limits == NONE else FieldColorModeId.THRESHOLDS
        panel.color_scheme(dashboards.FieldColor().mode(mode)).no_value("none")
        return panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False))  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Heat(Shown):
    """How a histogram's observations are spread, over time."""

    def target(self, query: Query, ref: str) -> prometheus.Dataquery:
        """Buckets have to be told apart by Grafana."""
        return super().target(query, ref).format(PromQueryFormat.HEATMAP)

    def build(self, number: int) -> Builder[Panel]:
        """As a heat map."""
        panel = self.dress(heatmap.Panel(), number).calculate(False)
        colour = heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Oranges").steps(64)
        axis = heatmap.YAxisConfig().unit(self.unit)
        return panel.color(colour).y_axis(axis).show_legend()  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Table(Shown):
    """Rows of labels with a column for each query.

    Attributes:
        columns: heading of each query's value, in order.
        labels: labels to show, in order; all others are hidden.
    """

    columns: Sequence[str] = ()
    labels: Sequence[str] = ()

    def target(self, query: Query, ref: str) -> prometheus.Dataquery:
        """A table wants the newest value only."""
        return super().target(query, ref).format(PromQueryFormat.TABLE).instant()

    def build(self, number: int) -> Builder[Panel]:
        """As a table: the queries are joined by their labels."""
        panel = self.dress(table.Panel(), number).show_header(True)
        single = len(self.queries) == 1
        values = ["Value"] if single else [f"Value #{chr(ord('A') + n)}" for n in range(len(self.queries))]
        shown = [*self.labels, *values]
        if not single:
            panel.with_transformation(DataTransformerConfig(id_val="merge", options={}))
        kept = {"include": {"names": shown}}
        panel.with_transformation(DataTransformerConfig(id_val="filterFieldsByName", options=kept))
        names = dict(zip(values, self.columns, strict=True)) | {name: name.capitalize() for name in self.labels}
        order = {name: position for position, name in enumerate(shown)}
        layout = {"indexByName": order, "renameByName": names, "excludeByName": {}}
        return panel.with_transformation(DataTransformerConfig(id_val="organize", options=layout))  # type: ignore[no-any-return]
