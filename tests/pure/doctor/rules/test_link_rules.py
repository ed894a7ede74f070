"""Check the rule `copy-link`."""

from __future__ import annotations

import pytest

from tests.support.findings import examine_text, only_finding, rule_names


def test_unlinked_copies_at_the_end_are_reported_together() -> None:
    text = (
        "FROM debian AS build\nCOPY . .\nRUN make\nFROM debian AS app\nCOPY etc /conf\nRUN x\n"
        "COPY --from=build /a /a\nCOPY --chown=10:10 --from=build /b /b\n"
    ).replace("COPY etc /conf\nRUN x\n", "RUN x\n")
    found = only_finding("copy-link", examine_text(text))
    assert found.line == 6
    assert found.fix == ("COPY --link --from=build /a /a", "COPY --link --chown=10:10 --from=build /b /b")


@pytest.mark.parametrize(
    ("setup", "owner", "numbers"),
    [
        ("RUN useradd --uid 1000 rails", "rails:rails", "1000:1000"),
        ("RUN groupadd -g 70 web && useradd -u 1001 -g web app", "app:web", "1001:70"),
        ("RUN addgroup -g 1001 -S nodejs && adduser -S nextjs -u 1001", "nextjs:nodejs", "1001:1001"),
        ("RUN addgroup --system --gid 1001 nodejs && adduser --system --uid 1002 nextjs", "nextjs:nodejs", "1002:1001"),
    ],
)
def test_unlinked_copies_owner_by_name_becomes_numbers(setup: str, owner: str, numbers: str) -> None:
    text = f"FROM a AS build\nCOPY . .\nFROM debian\n{setup}\nCOPY --from=build --chown={owner} /x /x\n"
    found = only_finding("copy-link", examine_text(text))
    assert found.fix == (f"COPY --link --from=build --chown={numbers} /x /x",)
    assert "numbers" in found.problem


@pytest.mark.parametrize("owner", ["web", "nextjs", "rails:web"])
def test_unlinked_copies_unknown_owner_gets_no_lines(owner: str) -> None:
    text = "FROM a AS build\nCOPY . .\nFROM debian\nRUN adduser --system --uid 1001 nextjs\n"
    found = only_finding("copy-link", examine_text(f"{text}COPY --from=build --chown={owner} /x /x\n"))
    assert found.fix == ()
    assert f"the numbers of `{owner}` are not in the Dockerfile" in found.problem


def test_unlinked_copies_workdir_after_them_moves_up() -> None:
    text = "FROM golang AS build\nCOPY . .\nFROM debian\nCOPY --from=build /x /usr/local/bin/x\nWORKDIR /data\n"
    found = only_finding("copy-link", examine_text(text))
    assert found.fix == ("WORKDIR /data", "COPY --link --from=build /x /usr/local/bin/x")
    assert "WORKDIR in line 5" in found.problem


def test_unlinked_copies_mode_beside_link_is_explained() -> None:
    text = "FROM a AS build\nCOPY . .\nFROM debian\nCOPY --from=build /x /x\nCOPY --chmod=755 hooks /hooks\n"
    assert "ignores --link beside --chmod (line 5)" in only_finding("copy-link", examine_text(text)).problem


@pytest.mark.parametrize(
    "text",
    [
        "FROM debian AS a\nCOPY --link b /b\n",
        "FROM scratch\nCOPY b /b\n",
        "FROM debian\nCOPY b /b\nRUN c\n",
        "FROM debian\nCOPY --from=busybox:1 /bin/sh /bin/sh\n",
        "FROM debian\nADD https://example.org/x /x\n",
        "FROM debian\nCOPY package.json /x/\n",
        "FROM debian\nCOPY rootfs /\n",
        "FROM debian\nCOPY b /lib/b\n",
        "FROM debian\nCOPY b /home/app/b\n",
        "FROM debian\nCOPY b /tmp/b\n",
        "FROM debian\nRUN mkdir /data && chown 10 /data\nCOPY b /data/b\n",
        "FROM debian\nCOPY --chown=10:10 b /usr/share/b\n",
    ],
    ids=[
        "linked",
        "nothing-below",
        "run-after",
        "image",
        "remote",
        "seldom",
        "root",
        "symlink",
        "home",
        "tmp",
        "owned",
        "system",
    ],
)
def test_unlinked_copies_without_gain_or_with_another_result_are_not_reported(text: str) -> None:
    assert "copy-link" not in rule_names(examine_text(text))
