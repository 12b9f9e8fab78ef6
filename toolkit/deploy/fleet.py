"""Several boards at once; one that fails does not stop the others."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Sequence

from toolkit.deploy.deployment import Deployment, refused
from toolkit.deploy.site import Result

GRACE_S = 5.0


def deploy(deployments: Sequence[Deployment]) -> list[Result]:
    """Run them all.

    Returns:
        One result each; `error` is what ended it early, whatever that was.

    Raises:
        KeyboardInterrupt: and whatever else ends the wait; the connections are then closed, the work on the boards
            goes on.
    """

    def work(deployment: Deployment) -> None:
        try:
            deployment.run()
            deployment.view.end("done")
        except Exception as error:
            deployment.result.error = error
            deployment.view.end(f"failed: {refused(error)}")

    threads = [threading.Thread(target=work, args=[d], daemon=True) for d in deployments]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    except BaseException:
        with contextlib.suppress(KeyboardInterrupt):
            for deployment in deployments:
                deployment.cancel()
            until = time.monotonic() + GRACE_S
            for thread in threads:
                if thread.is_alive():
                    thread.join(max(0.0, until - time.monotonic()))
        raise
    return [d.result for d in deployments]
