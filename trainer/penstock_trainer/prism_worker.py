"""A worker process of Prism, which starts it and says where it listens: `--id='...' --provision_endpoint=host:port`."""

import argparse
import os
import sys

from apache_beam.runners.worker.sdk_worker import SHORT_ID_CACHE, SdkHarness


def main(arguments: list[str] | None = None) -> None:
    """Work until Prism closes the connection."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--id", required=True)
    parser.add_argument("--provision_endpoint", required=True)
    given = parser.parse_args(arguments)
    # Prism takes the short names that workers give to metrics for those of the job: each has a range of its own.
    SHORT_ID_CACHE._last_short_id = os.getpid() << 32
    # Prism quotes the name as a shell would, without a shell, and serves all its interfaces at one address.
    SdkHarness(given.provision_endpoint, worker_id=given.id.strip("'")).run()


if __name__ == "__main__":
    sys.exit(main())
