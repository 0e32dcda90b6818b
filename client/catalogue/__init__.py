"""The catalogue at a site: read and held against what was seen before (listing_check), and what the site adds to it
(dataset_offer).
"""
