"""The coordinator's live page: a process of its own, which reads the coordinator's folder and changes nothing in it.

commands              `python -m server dashboard`
dashboard_app         the application and its process; who is let in: `common.web`
pages                 all addresses
push                  what changed, to every open page
live_page             the live page: its parts, and what is said to whoever listens
consortium_view       the coordinator's folder at one moment, from which all parts are made
run_sections, consortium_sections   the parts
errors_page           docs/errors.md as a page
"""
