"""What Penstock and its peers compute in `benchmarks/preprocess.py`: one list, nothing imported, for every environment.

Numbers become z-scores (0 where missing) or bucket ids of about equal size; categories become ids by frequency; the
cross hashes two such ids. Ids: 0 is missing, 1 unknown, then buckets in order or categories by rank.
`departure_minute` and `dew_spread` are derived from the raw columns. `row` names the row, so that outputs can be
compared.
"""

REQUIRED = ("row", "sched_dep_time", "distance")
OPTIONAL = ("temp", "dewp", "humid", "wind_speed", "precip", "pressure", "visib", "plane_year", "seats")
REQUIRED_CATEGORIES = ("carrier", "origin", "dest")
OPTIONAL_CATEGORIES = ("tailnum", "model", "manufacturer")
CATEGORIES = (*REQUIRED_CATEGORIES, *OPTIONAL_CATEGORIES)
SCALED = ("departure_minute", "distance", *OPTIONAL, "dew_spread")
BUCKETIZED = {"departure_minute": 20, "distance": 10, "temp": 10, "pressure": 10}
CROSS = ("carrier", "dest")
CROSS_BUCKETS = 1000
# Fibonacci hashing: 2**64 divided by the golden ratio, its upper and lower half.
FACTOR = (0x9E3779B9, 0x7F4A7C15)
