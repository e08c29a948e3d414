"""The measuring process: one job in JSON as its argument, answers as JSON lines on stdout."""

from __future__ import annotations

import os
import sys

import msgspec

from edge_audio.bench.candidates import Facts
from edge_audio.bench.rounds import OpenJob, Round, RoundJob, Waking, WakingJob
from edge_audio.bench.scaling import Capacity, CapacityJob, Curve, CurveJob
from edge_audio.bundle.spec import Spec
from edge_audio.errors import EdgeAudioError

Job = OpenJob | RoundJob | WakingJob | CurveJob | CapacityJob


class Scored(Spec, frozen=True, tag="scored"):
    """The first score has been computed. The reader, who started the process, knows how long it
    took."""


class Result(Spec, frozen=True, tag="result"):
    """The result of the job."""

    value: Facts | Round | Waking | Curve | Capacity


class Failure(Spec, frozen=True, tag="failure"):
    """Why the job failed, in one line."""

    message: str


Answer = Scored | Result | Failure


def main() -> None:
    """Does the job of the command line; answers are lines of JSON on standard output."""
    job = msgspec.json.decode(sys.argv[1], type=Job)
    with os.fdopen(os.dup(1), "wb", buffering=0) as answers:
        os.dup2(2, 1)  # runtimes print to standard output as well

        def say(answer: Answer) -> None:
            answers.write(msgspec.json.encode(answer) + b"\n")

        try:
            say(Result(value=job.run(lambda: say(Scored()))))
        except EdgeAudioError as error:
            say(Failure(message=" ".join(str(error).split())))
        except ModuleNotFoundError as error:
            say(Failure(message=f"needs the module {error.name!r}, which is not installed"))
        except Exception as error:  # peers and plugins raise what they like
            reason = " ".join(str(error).split())
            say(Failure(message=f"unexpected {type(error).__name__}: {reason}"))


if __name__ == "__main__":
    main()
