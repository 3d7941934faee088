"""The measurement of scrapes, with a small fleet: it has values for every metric, or it would measure too little."""

from prometheus_client.parser import text_string_to_metric_families

from bench.big_fleet import Size
from bench.scrape_cost import Scraped, measure
from spoe_agent.metrics.exposition import METRICS, Exposition

SMALL = Size(instances=4, hosts=2, gpus_per_host=2)


async def test_every_metric_has_values():
    scraped = Scraped(SMALL)
    page = (await Exposition(scraped, scraped.limiter, scraped.contact).page()).decode()
    samples = {one.name for one in text_string_to_metric_families(page) if one.samples}
    assert {one.name.removesuffix("_total") for one in METRICS} <= samples


async def test_a_larger_fleet_has_more_series():
    few, more = [await measure(Scraped(size), 1) for size in (SMALL, Size(8, 4, 2))]
    assert 0 < few.series < more.series
    assert few.page_ms >= few.longest_ms > 0
