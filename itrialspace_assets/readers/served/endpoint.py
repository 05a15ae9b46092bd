"""Kind ``endpoint``: a model behind an OpenAI-compatible server as a reader.

Requests of a batch are sent several at once and returned in their order. What fails is a failure of its request, which
is asked again another time.
"""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.fingerprints import digest
from itrialspace_assets.readers.api import Generation, Need, Prompt, Read, Reader, Request
from itrialspace_assets.readers.entry import ReaderEntry, ReaderEnvironment, ReaderKind, reader_of
from itrialspace_assets.readers.prompts import prompts_of
from itrialspace_assets.readers.served.chat import data_url, messages
from itrialspace_assets.readers.served.failures import Failed
from itrialspace_assets.readers.served.options import EndpointOptions
from itrialspace_assets.readers.served.replies import read_reply, score_options
from itrialspace_assets.readers.served.revision import ServerRecord, digest_of, listed_model, read_record, renew

if TYPE_CHECKING:
    from itrialspace_assets.readers.served.connection import Connection

VERSION = "1"
_TASKS = ("presence", "lobe", "size")
#: Seconds within which a server must list its models (ours).
_SOON_S = 3.0
#: Options that decide neither what is asked nor who answers: a server may move without being asked again.
_WHERE = {"base_url", "hosts", "api_key_env", "concurrency", "timeout_s"}


@dataclass(frozen=True)
class ServedModel:
    """One entry: its options, the hash of those that decide answers, its words, and where its server's record lies."""

    name: str
    options: EndpointOptions
    code: str
    prompts: Mapping[str, Prompt]
    record: Path

    def needs(self) -> list[Need]:
        """What is wrong: the key's variable, the proxy, or that no server lists the model within a few seconds."""
        from itrialspace_assets.readers.served.connection import connect

        hurried = self.options.model_copy(update={"timeout_s": min(_SOON_S, self.options.timeout_s)})
        try:
            connection = connect(hurried)
            with connection.client:
                listed_model(connection)
        except ConfigError as error:
            what, _, fix = str(error).rpartition("; ")
            return [Need(what, fix)] if what else [Need(fix, "see its entry in readers.yaml")]
        return []

    def files(self) -> str:
        """Hash of the server's record. Asks nobody.

        Raises:
            ConfigError: there is no record yet.
        """
        return digest_of(self._known())

    def _known(self) -> ServerRecord:
        record = read_record(self.record, self.code)
        if record is None:
            raise ConfigError(
                f"reader {self.name}: expected the revision of its server, found none: it is taken when reading "
                "begins, with `its run --only read`"
            )
        return record

    def prepare(self) -> None:
        """Take the server's revision, or compare it with the one that is known.

        Raises:
            ConfigError: the server cannot be asked, does not serve the model, or takes no pictures.
        """
        from itrialspace_assets.readers.served.connection import connect

        connection = connect(self.options)
        with connection.client:
            renew(self.record, self.code, connection)

    def load(self) -> Read:
        """What asks the server.

        Raises:
            ConfigError: there is no record of the server, or no key.
        """
        from itrialspace_assets.readers.served.connection import connect  # costs what a graph need not pay

        record, connection, opened_by = self._known(), connect(self.options), os.getpid()

        def read(requests: Sequence[Request]) -> list[Generation]:
            assert os.getpid() == opened_by, "a connection is of one process"
            urls = {id(picture): data_url(picture) for r in requests for picture in r.pictures}
            pool = ThreadPoolExecutor(self.options.concurrency)
            try:
                return list(pool.map(partial(ask, connection, record, self.prompts, urls), requests))
            finally:
                pool.shutdown(cancel_futures=True)

        return read


def ask(
    connection: "Connection",
    record: ServerRecord,
    prompts: Mapping[str, Prompt],
    urls: dict[int, str],
    request: Request,
) -> Generation:
    """One request, answered or failed.

    Args:
        connection: to the server.
        record: what the server can do.
        prompts: the words of each task.
        urls: data URL of each picture, by its ``id``.
        request: with a prompt.

    Raises:
        ConfigError: the server refuses every request.
    """
    written = dict(prompts[request.task].options)
    body = body_of(connection.options, record, urls, request)
    if record.obeys_choices:
        body["structured_outputs"] = {"choice": [written.get(option, option) for option in request.options]}
    try:
        reply = read_reply(connection.post("/chat/completions", body))
    except Failed as failure:
        return Generation(failure=f"{connection.options.base_url}: {failure}")
    scored = score_options(reply, request.options, written)
    return Generation(
        raw_text=connection.hide(reply.text),
        option_scores=None if scored is None else scored.scores,
        # where other answers were not allowed, nothing is known of them
        outside_log_mass=None if scored is None or record.obeys_choices else scored.outside,
    )


def body_of(options: EndpointOptions, record: ServerRecord, urls: dict[int, str], request: Request) -> dict[str, Any]:
    """What is sent for a request, but for the options that the server is to allow.

    Args:
        options: of the entry.
        record: what the server can do.
        urls: data URL of each picture, by its ``id``.
        request: with a prompt.
    """
    assert request.prompt is not None  # every task of a language model has words
    body = options.extra | {
        "model": options.model,
        "messages": messages([urls[id(p)] for p in request.pictures], request.prompt),
        "temperature": 0,
        "seed": 0,
        "max_tokens": options.max_tokens,
    }
    if record.top_logprobs is not None:
        body |= {"logprobs": True, "top_logprobs": record.top_logprobs}
    return body


def build(entry: ReaderEntry, options: EndpointOptions, place: ReaderEnvironment) -> Reader:
    """The reader of an entry; the server is not asked.

    Args:
        entry: of ``readers.yaml``.
        options: its options, checked.
        place: where the record of the server is kept, beside the hashes of files.

    Raises:
        ConfigError: a task has no words.
    """
    tasks = entry.tasks or _TASKS
    code = digest([entry.kind, VERSION, options.model_dump(mode="json", exclude=_WHERE)], 16)
    prompts = prompts_of(entry, tasks)
    record = place.fingerprints.with_name("served") / f"{entry.name}.json"
    endpoint = ServedModel(entry.name, options, code, prompts, record)
    return replace(
        reader_of(entry, code, endpoint.load, scorer="text", tasks=tasks, prompts=prompts),
        files=endpoint.files,
        needs=endpoint.needs,
        prepare=endpoint.prepare,
        unverified=True,
        seed=0,
    )


KIND = ReaderKind("endpoint", EndpointOptions, build)
