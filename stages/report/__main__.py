"""Write reports/report.html: a page that opens from disk, of what the model knows and where it is wrong."""

from lightline.runtime.stage import run_stage  # isort: skip  (first: it sets up threads before torch loads)

from pathlib import Path

from lightline.config.params import Params
from lightline.files import whole_file
from lightline.models.device import use_share
from lightline.runtime.partial_experiment import keeping_what_is_finished
from lightline.runtime.tracking import track
from stages.report.content import data_of
from stages.report.findings import read_findings
from stages.report.page import render
from stages.report.texts import texts_of

PAGE = Path("reports/report.html")


def main(params: Params) -> None:
    use_share(params.hardware)
    found = read_findings()
    page = render(texts_of(found, params), data_of(found, params))
    with whole_file(PAGE) as temporary:
        temporary.write_text(page, encoding="utf-8")
    with track(params, found.checkpoint.fingerprint, "report") as run:
        run.log_page("report", PAGE)
    print(f"{PAGE}: {PAGE.stat().st_size / 1e6:.1f} MB, opens in any browser")


if __name__ == "__main__":
    run_stage(keeping_what_is_finished(main))
