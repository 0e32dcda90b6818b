"""A shared model on this hospital's own images: `python -m client predict`. What it says and does not: docs/sharing.md.

package_commands   packages on this machine, for trainings to begin from
trust           whether a package's publisher is one to believe
inputs          what the command line names: files, folders, arrays, encrypted data sets
outcome         what the model says of an image, and how far that can be believed
drawing         the image with what speaks for the answer, as a picture
results_to_pacs     answers into the studies of their images in the hospital archive
outcome_table   outcomes as a table, as CSV and as JSON
"""
