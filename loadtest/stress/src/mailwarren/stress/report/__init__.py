"""The report: Markdown, CSV and plots, all of it computed from the cells. No sentence has a number of its own."""
