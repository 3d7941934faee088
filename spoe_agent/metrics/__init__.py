"""What a scrape tells: every metric, its labels, and where its values come from.

Must not live here: counting (that is done where things happen), decisions.
"""
