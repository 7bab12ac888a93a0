"""What a scope can be filled in for, and the scope: a user, an agent, a session, for threads.

Thin on purpose: `operations` says what is sent, `transport` sends it. `async_scoped` mirrors this file line by line; a
test compares the names, signatures and docstrings of the two.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Unpack

from recalld_client import operations
from recalld_client.batches import acknowledging
from recalld_client.errors import InvalidValue
from recalld_client.files import fetch
from recalld_client.frames import Framed
from recalld_client.jobs import Working
from recalld_client.models import Change, Chat, Context, Feedback, Memory, Recall, Receipt, SessionState
from recalld_client.operations import Changes, Items, Messages
from recalld_client.scopes import FIELDS, Bound, ScopeNames, narrowed
from recalld_client.streaming import ChatStream
from recalld_client.transport import Transport
from recalld_client.wire import Time

# Inside a class that has a method `list`, the builtin has no name.
Memories = list[Memory]


class Bindable(Working, Framed):
    """Everything that a scope can be filled in for."""

    def __init__(self, transport: Transport, bound: Bound) -> None:
        self._transport = transport
        self._bound = bound

    def scope(self, **fields: Unpack[ScopeNames]) -> "Scope":
        """Bind `user_id`, `agent_id`, `session_id`, any of them: every call on what it returns fills them in.

        Scopes nest: `client.scope(user_id="alice").scope(session_id="s1")` has both fields. Calls by id act on that
        id: what a caller may reach at all is for its API key to say.

        Raises:
            InvalidValue: nothing is given, a field is None or empty, or it is bound to another value already.
        """
        if not fields:
            raise InvalidValue.of("scope", f"give at least one of {', '.join(FIELDS)}")
        return Scope(self._transport, narrowed(self._bound, fields))

    def add(
        self,
        text: str,
        *,
        kind: str | None = None,
        role: str | None = None,
        speaker: str | None = None,
        occurred_at: Time | None = None,
        external_id: str | None = None,
        metadata: Mapping[str, object] | None = None,
        expires_at: Time | None = None,
        frame: Mapping[str, object] | None = None,
        idempotency_key: str | None = None,
    ) -> Memory:
        """Remember a text. It can be recalled as soon as this returns.

        Args:
            text: kept byte for byte.
            kind: `turn` (the default), `document`, `fact`, `episode`, `procedure` or `rationale`.
            role: who spoke, as in a chat: `user`, `assistant`, ...
            speaker: the speaker's name.
            occurred_at: when it happened; left out, that is unknown (it is never taken to be now).
            external_id: your id, unique within the scope: the same again changes nothing, other text makes a version.
            metadata: a JSON object to filter by.
            expires_at: when to drop it from recall.
            frame: the structured form of a fact, episode, procedure or rationale.
            idempotency_key: left out, each call gets its own; the tries of one call share it.
        """
        return self._transport.send(
            operations.add(
                self._bound,
                text,
                kind=kind,
                role=role,
                speaker=speaker,
                occurred_at=occurred_at,
                external_id=external_id,
                metadata=metadata,
                expires_at=expires_at,
                frame=frame,
                idempotency_key=idempotency_key,
            )
        )

    def add_many(
        self,
        items: Items,
        *,
        items_max: int = 200,
        progress: Callable[[int], None] | None = None,
        idempotency_key: str | None = None,
    ) -> Memories:
        """Remember many items, in requests of at most `items_max` items (1 to 1,000) and 4 MiB.

        Each request is stored whole or not at all, and is never stored twice. If one fails, the error's
        `acknowledged` says how many items were stored before it: go on from there.

        Args:
            items: texts, or mappings with the arguments of `add` and `scope`; taken lazily.
            items_max: items in one request.
            progress: called after each request with the number of items stored so far.
            idempotency_key: an import with the same key, items and `items_max` can be run again as a whole.

        Returns:
            The memories, in the order of the items.
        """
        added: Memories = []
        with acknowledging(added):
            for call in operations.add_many(self._bound, items, items_max=items_max, idempotency_key=idempotency_key):
                stored = self._transport.send(call)
                added += stored
                if progress is not None:
                    progress(len(added))
        return added

    def get(self, memory_id: str) -> Memory:
        """The current version of a memory.

        Raises:
            NotFound: there is none with this id that the key may see.
        """
        return self._transport.send(operations.get(memory_id))

    def list(
        self,
        *,
        kind: str | Sequence[str] | None = None,
        state: str | Sequence[str] | None = None,
        since: Time | None = None,
        until: Time | None = None,
        metadata: Mapping[str, str | int | float | bool | None] | None = None,
        text: str | None = None,
        limit: int | None = None,
    ) -> Iterator[Memory]:
        """The memories that match every argument given, newest first. Pages are fetched as you iterate.

        Args:
            kind: one kind, or any of several.
            state: `active` (the default), `superseded`, `forgotten`, or any of several.
            since, until: [since, until) of when it happened, or of when it was recorded where that is unknown.
            metadata: what must stand under these keys.
            text: words that must all be in the text.
            limit: how many at most; left out, all.
        """
        return self._pages(
            operations.listing(
                self._bound, kind=kind, state=state, since=since, until=until, metadata=metadata, text=text, limit=limit
            )
        )

    def update(
        self,
        memory_id: str,
        *,
        if_match: int | None = None,
        idempotency_key: str | None = None,
        **changes: Unpack[Changes],
    ) -> Memory:
        """Make a new version; the old one stays in the history.

        Args:
            memory_id: which memory.
            if_match: the version that you read; another one by now is an error.
            idempotency_key: as in `add`.
            changes: any of `text`, `metadata` (merged key by key; None removes one), `occurred_at`, `expires_at`,
                `speaker`, `frame`. None removes, what is left out stays.

        Raises:
            PreconditionFailed: `if_match` is no longer the current version.
        """
        return self._transport.send(
            operations.update(memory_id, if_match=if_match, idempotency_key=idempotency_key, **changes)
        )

    def delete(self, memory_id: str, *, if_match: int | None = None, idempotency_key: str | None = None) -> Receipt:
        """Erase a memory, its versions and all that was derived from it, for good. See `forget` for less."""
        return self._transport.send(operations.delete(memory_id, if_match=if_match, idempotency_key=idempotency_key))

    def erase(
        self,
        *,
        ids: Sequence[str] | None = None,
        filter: Mapping[str, object] | None = None,
        everything: bool = False,
        dry_run: bool = False,
        idempotency_key: str | None = None,
    ) -> Receipt:
        """Erase for good: this scope; or memories by id, or those of it that a filter matches.

        Args:
            ids: these memories; those that the key may not see are left out.
            filter: all memories for which it holds, as in `recall`.
            everything: all that the key may see; what a client without a scope must say to erase it.
            dry_run: only count.
            idempotency_key: as in `add`.

        Returns:
            the receipt. A large erasure is `running`: nothing shows its memories, and `client.erasure(id)` tells on.

        Raises:
            InvalidValue: more than one is given, or none and no scope is bound.
        """
        return self._transport.send(
            operations.erase(
                self._bound,
                ids=ids,
                filter=filter,
                everything=everything,
                dry_run=dry_run,
                idempotency_key=idempotency_key,
            )
        )

    def export(self, path: str | Path, *, vectors: bool = False) -> None:
        """Write this scope's memories with their history into a new file; `client.import_` reads it.

        Args:
            path: the file.
            vectors: with vectors and token codes, so that importing encodes nothing.

        Raises:
            InvalidValue: the file is there already.
        """
        fetch(self._transport, operations.export(self._bound, path, vectors=vectors), Path(path))

    def forget(self, memory_id: str, *, if_match: int | None = None, idempotency_key: str | None = None) -> Memory:
        """Take a memory out of recall. `restore` undoes it until the retention time is over and it is erased."""
        return self._transport.send(operations.forget(memory_id, if_match=if_match, idempotency_key=idempotency_key))

    def restore(self, memory_id: str, *, if_match: int | None = None, idempotency_key: str | None = None) -> Memory:
        """Put a forgotten memory back."""
        return self._transport.send(operations.restore(memory_id, if_match=if_match, idempotency_key=idempotency_key))

    def history(self, memory_id: str, *, limit: int | None = None) -> Iterator[Memory]:
        """The versions of a memory, newest first."""
        return self._pages(operations.history(self._bound, memory_id, limit=limit))

    def sources(self, memory_id: str, *, limit: int | None = None) -> Iterator[Memory]:
        """The memories that this one was derived from, newest first."""
        return self._pages(operations.sources(self._bound, memory_id, limit=limit))

    def derived(self, memory_id: str, *, limit: int | None = None) -> Iterator[Memory]:
        """The memories that were derived from this one, newest first."""
        return self._pages(operations.derived(self._bound, memory_id, limit=limit))

    def facts(
        self,
        *,
        subject: str | None = None,
        predicate: str | None = None,
        as_of: Time | None = None,
        known_at: Time | None = None,
        limit: int | None = None,
    ) -> Iterator[Memory]:
        """What stands, newest first; each has a `frame` of subject, predicate, object and negated.

        Args:
            subject, predicate: as in the frame.
            as_of: what held then; left out: now.
            known_at: as far as was known then; left out: now.
            limit: at most so many; left out: all.
        """
        return self._pages(
            operations.facts(
                self._bound, subject=subject, predicate=predicate, as_of=as_of, known_at=known_at, limit=limit
            )
        )

    def changes(
        self, *, kind: str | Sequence[str] | None = None, memory_id: str | None = None, limit: int | None = None
    ) -> Iterator[Change]:
        """What was decided and why, newest first; in a scope, the changes all of whose memories are in it."""
        return self._pages(operations.changes(self._bound, kind=kind, memory_id=memory_id, limit=limit))

    def undo(self, change_id: str, *, idempotency_key: str | None = None) -> Change:
        """Take a change back; deriving again does not take it anew. The result is a change that can be undone too."""
        return self._transport.send(operations.undo(change_id, idempotency_key=idempotency_key))

    def recall(
        self,
        query: str,
        *,
        limit: int = 10,
        kinds: Sequence[str] | None = None,
        as_of: Time | None = None,
        known_at: Time | None = None,
        now: Time | None = None,
        filter: Mapping[str, object] | None = None,
        explain: bool = False,
    ) -> Recall:
        """The memories that matter for a query, best first.

        Args:
            query: a question or a topic.
            limit: how many at most.
            kinds: only these kinds.
            as_of: leave out what occurred or held only later.
            known_at: leave out what was recorded later.
            now: the time from which "last week" in the query is read.
            filter: only memories for which it holds, such as `{"metadata.topic": "home"}` or
                `{"or": [{"speaker": "Ann"}, {"occurred_at": {"gte": moment}}]}`.
            explain: say what each score is made of.
        """
        return self._transport.send(
            operations.recall(
                self._bound,
                query,
                limit=limit,
                kinds=kinds,
                as_of=as_of,
                known_at=known_at,
                now=now,
                filter=filter,
                explain=explain,
            )
        )

    def context(
        self,
        query: str,
        *,
        token_budget: int | None = None,
        limit: int | None = None,
        kinds: Sequence[str] | None = None,
        as_of: Time | None = None,
        known_at: Time | None = None,
        now: Time | None = None,
        filter: Mapping[str, object] | None = None,
        state: bool = True,
    ) -> Context:
        """The same as `recall`, packed into at most `token_budget` tokens of text for a prompt.

        Args:
            token_budget: left out, the server's setting.
            limit: how many memories to consider; left out, the server's choice.
            state: whether the working memory of the bound session comes first, within the budget.
        """
        return self._transport.send(
            operations.context(
                self._bound,
                query,
                token_budget=token_budget,
                limit=limit,
                kinds=kinds,
                as_of=as_of,
                known_at=known_at,
                now=now,
                filter=filter,
                state=state,
            )
        )

    def state(self, session_id: str | None = None) -> SessionState:
        """What to keep in mind of this session: of constant size, and up to the last write that was acknowledged.

        Put it before what a recall gives and the last message, and a prompt stays as long at turn 1,000 as at turn 10.
        A session that nothing was written to has an empty one.

        Args:
            session_id: left out, the one that is bound.

        Raises:
            InvalidValue: there is no session, or another one is bound.
        """
        return self._transport.send(operations.state(self._bound, session_id))

    def feedback(
        self, recall_id: str, memory_id: str, useful: bool | None, *, idempotency_key: str | None = None
    ) -> Feedback:
        """Say whether a memory that a recall gave was of use; it ranks higher or lower from then on.

        Args:
            recall_id: of a `Recall`, a `Context` or a `Chat`.
            useful: a later vote on the same memory of the same recall replaces this one; None withdraws it.

        Raises:
            NotFound: there is no such recall here, or it did not give this memory.
        """
        return self._transport.send(operations.feedback(recall_id, memory_id, useful, idempotency_key=idempotency_key))

    def chat(
        self,
        messages: Messages,
        *,
        model: str | None = None,
        recall: bool = True,
        remember: bool = True,
        token_budget: int | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        seed: int | None = None,
    ) -> Chat:
        """Ask the server's language model, with what is remembered. Without a scope nothing is recalled or remembered.

        Args:
            messages: the user's words, or messages as OpenAI's API takes them.
            model: which one; left out, the server's first.
            recall: whether to give it the memories that matter.
            remember: whether to remember this exchange.
            token_budget: for the memories.
            max_tokens: length of the answer.
            temperature: 0 for the likeliest words.
            seed: the same seed draws the same words.
        """
        return self._transport.send(
            operations.chat(
                self._bound,
                messages,
                model=model,
                recall=recall,
                remember=remember,
                token_budget=token_budget,
                max_tokens=max_tokens,
                temperature=temperature,
                seed=seed,
            )
        )

    def chat_stream(
        self,
        messages: Messages,
        *,
        model: str | None = None,
        recall: bool = True,
        remember: bool = True,
        token_budget: int | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        seed: int | None = None,
    ) -> ChatStream:
        """The same as `chat`, as it is written: iterate for pieces of text, then read `.reply`."""
        return ChatStream(
            self._transport,
            operations.chat_stream(
                self._bound,
                messages,
                model=model,
                recall=recall,
                remember=remember,
                token_budget=token_budget,
                max_tokens=max_tokens,
                temperature=temperature,
                seed=seed,
            ),
        )


class Scope(Bindable):
    """A client bound to a user, an agent, a session. Made by `scope`; the client that made it closes it."""

    def __repr__(self) -> str:
        return f"Scope({', '.join(f'{name}={value!r}' for name, value in self._bound.items())})"
