"""Pictures and tables of an evaluation, read from its metrics alone; needs the extra ``plot``."""

from torch_heads.integrations.report.page import write_report
from torch_heads.integrations.report.sections import report_figures
from torch_heads.integrations.report.terminal import print_report

__all__ = ["print_report", "report_figures", "write_report"]
