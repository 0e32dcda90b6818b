"""A run as a page that people read: one file, without network or script, from the content of result.json alone.

charts             axes, ROC, calibration, dots as SVG
learning_curves    learning curves
chart_labels       what is written into them: values under the pointer, names at the ends of lines
rounds_table       rounds as curves, as numbers and as CSV
sentences          what is to be said in sentences: limits, privacy
report_file        a report as a file
run_page           the report of one run
quality_section    how good its model is: figures with intervals, ROC, calibration, confusion
provenance         who took part, time and bytes, what made it
cross_site_table   models × sites
evaluation_page    the report of an evaluation
catalogue_page     what partners offer

Elements and style: `common.web`. Several runs beside each other: `server/comparison/`.
"""
