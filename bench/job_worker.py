"""A worker, or a server with its own worker, that knows one more task: `count`, whose every step leaves one memory.

`python -m bench.job_worker worker|serve`, settings from the environment. What a step did can be counted from outside,
whoever was killed meanwhile: the memory's text names the job and the step.
"""

import sys
import threading
import time

import uvicorn

from api.app import create_app
from memory.model import Item
from recalld.bootstrap import Service
from recalld.core.access import Principal
from recalld.core.config import load_settings
from recalld.jobs.model import Job, Progress
from recalld.jobs.runner import Breathe, Effects, Outcome, Work
from recalld.jobs.tasks import CONSOLIDATE
from recalld.jobs.worker import JobSteps, Worker

COUNT = "count"


class Count:
    """`count`. Arguments: `name`, how many `steps`, and the seconds of work in each."""

    name = COUNT

    def __init__(self, service: Service) -> None:
        self._service = service

    def plan(self, job: Job, breathe: Breathe) -> Effects:
        """One more memory."""
        time.sleep(job.arguments["work_s"])
        done = 0 if job.cursor is None else int(job.cursor["done"])

        def effects(work: Work) -> Outcome:
            item = Item(f"{job.arguments['name']} step {done}", kind="document")
            self._service.memories.add(work.store, Principal(job.namespace), [item])
            ended = done + 1 == job.arguments["steps"]
            return Outcome(None if ended else {"done": done + 1}, Progress(done + 1, job.arguments["steps"]))

        return effects


def main() -> None:
    """Work until killed. Encoding is left out: what is measured is the queue."""
    service = Service(load_settings())
    service.tasks[COUNT] = Count(service)
    if sys.argv[1] == "worker":
        del service.tasks[CONSOLIDATE]
    runner = service.job_runner()
    steps = JobSteps(runner.advance, runner.failed, runner.release, lambda: 0)
    service.worker = Worker(lambda: 0, service.recall_log.flush, lambda: None, jobs=steps)
    if sys.argv[1] == "worker":
        service.worker.start()
        threading.Event().wait()
    uvicorn.run(create_app(service), port=0, log_config=None, access_log=False)


if __name__ == "__main__":
    main()
