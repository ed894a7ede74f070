"""Dockerfiles that `doctor --fix` changes: each with what the edits do, and whether the image stays the same.

Each begins with BASE, an image with the users that the commands need. `code` is the file that a push of code changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

BASE = """\
FROM busybox:1 AS base
RUN mkdir -p /etc /root && echo 'root:x:0:0::/root:/bin/sh' > /etc/passwd && echo 'root:x:0:' > /etc/group \\
 && echo 'app:x:1001:1002::/home/app:/bin/sh' >> /etc/passwd && echo 'team:x:1002:' >> /etc/group
"""
# The folder `shadow` has the programs of the package of that name
USERS = """\
COPY --from=shadow / /
ENV PATH=/bin:/usr/sbin
"""
BUILD = """\
FROM base AS build
WORKDIR /src
COPY etc .
RUN mkdir -p out/deep/er && cp /bin/busybox out/deep/big && cp app.conf out/ && cp app.conf out/deep/er/ \\
 && ln -s deep/big out/link && ln -s /nowhere out/dangling && chmod 750 out/deep && chown -R app:team out/deep/er
"""
FILES = {
    "code.txt": "one\n",
    "run.sh": "#!/bin/sh\necho run\n",
    "site/index.html": "index\n",
    "site/img/logo.svg": "<svg/>\n",
    "etc/app.conf": "a = 1\n",
}


@dataclass(frozen=True, kw_only=True)
class FixCase:
    """Dockerfile below BASE, and what is expected of its edits.

    `changed` are the paths whose owner or mode differs after unsafe edits, `fewer` says that a push of code is at least
    ten times smaller, `kept` that no edit applies. `files` are those of the context.
    """

    text: str
    unsafe: bool = False
    changed: tuple[str, ...] = ()
    fewer: bool = False
    kept: bool = False
    files: Mapping[str, str] = field(default_factory=lambda: FILES)

    @property
    def dockerfile(self) -> str:
        users = USERS if "useradd" in self.text else ""
        return f"{BASE}{users}{self.text}"


_FINAL = f"{BUILD}FROM base\n"

_OUT = "COPY --from=build /src/out /app\nCOPY code.txt /app/"

_OUT_AND_CODE = "COPY --from=build /src/out /app\nCOPY code.txt /code/"

CASES: Mapping[str, FixCase] = {
    # chown -R and chmod -R over what COPY brought
    "chown-of-a-copied-stage": FixCase(
        text=f"{_FINAL}WORKDIR /app\n{_OUT}\nRUN chown -R app:team /app\nUSER app\n", fewer=True
    ),
    "chown-of-the-context": FixCase(text="FROM base\nWORKDIR /app\nCOPY . .\nRUN chown -R app:team /app\n"),
    "chown-in-a-folder-that-is-missing": FixCase(
        text=f"{_FINAL}COPY --from=build /src/out /app/inner/\nCOPY code.txt /app/\nRUN chown -R app:team /app\n",
        fewer=True,
    ),
    "chown-with-folders-and-links-of-before": FixCase(
        text=f"{_FINAL}WORKDIR /app\nRUN mkdir -p deep/old && touch old && ln -s old oldlink && chmod 700 deep\n"
        f"{_OUT}\nCOPY site /app/site/\nRUN chown -R app:team /app\n",
        fewer=True,
    ),
    "chown-replaces-other-owners": FixCase(
        text=f"{_FINAL}WORKDIR /app\nCOPY --chown=7:8 --from=build /src/out /app\nCOPY --chown=app code.txt site/\n"
        "RUN chown -R app:team /app\n",
    ),
    "chown-by-numbers": FixCase(text=f"{_FINAL}WORKDIR /app\n{_OUT}\nRUN chown -R 4000:4001 /app\n", fewer=True),
    "chown-of-the-user-alone": FixCase(
        text="FROM base\nWORKDIR /app\nCOPY site .\nCOPY --chown=root:team etc etc\nRUN chown -R app /app\n"
    ),
    "chown-beside-a-user-that-is-made": FixCase(
        text=f"{_FINAL}WORKDIR /app\n{_OUT}\nRUN groupadd -g 3000 crew && useradd -u 3001 -g crew sailor \\\n"
        "  # the crew owns it\n  && chown -R sailor:crew /app\nUSER sailor\n",
        fewer=True,
    ),
    "chown-of-folders-in-a-variable": FixCase(
        text=f"{_FINAL}ENV HOME_OF_APP=/app LOGS=/logs\nWORKDIR $HOME_OF_APP\n{_OUT}\n"
        "RUN mkdir -p ${LOGS} && chown -R app:team ${HOME_OF_APP} ${LOGS}\n",
        fewer=True,
    ),
    "chown-over-several-copies": FixCase(
        text=f"{_FINAL}WORKDIR /app\n{_OUT}\nCOPY site site\n# settings\nCOPY etc/app.conf \\\n  run.sh \\\n  conf/\n"
        'LABEL a=b\nEXPOSE 80\nRUN chown -R app:team /app\nCMD ["sh"]\n',
        fewer=True,
    ),
    "chown-after-a-command-that-stays": FixCase(
        text=f"{_FINAL}WORKDIR /app\n{_OUT}\nRUN chown -R app:team /app && cat /app/code.txt > /seen\n", fewer=True
    ),
    "chown-of-one-of-two-trees": FixCase(
        text=f"{_FINAL}WORKDIR /app\n{_OUT}\nCOPY site /site/\nRUN chown -R app:team /app\n", fewer=True
    ),
    "chown-of-an-outer-tree-is-left": FixCase(
        text=f"{_FINAL}WORKDIR /app\nCOPY --from=build /src/ /app\nRUN chown -R app:team /app/out\n", kept=True
    ),
    "chown-of-what-a-run-made-is-left": FixCase(
        text=f"{_FINAL}WORKDIR /app\n{_OUT}\nRUN cp code.txt copy.txt\nRUN chown -R app:team /app\n", kept=True
    ),
    "chown-of-a-file-is-left": FixCase(
        text=f"{_FINAL}COPY --from=build /src/out/app.conf /program\nRUN chown -R app:team /program\n", kept=True
    ),
    "chmod-of-a-copied-stage": FixCase(text=f"{_FINAL}WORKDIR /app\n{_OUT}\nRUN chmod -R 755 /app\n"),
    "chmod-of-the-context": FixCase(text="FROM base\nWORKDIR /app\nCOPY site .\nRUN chmod -R 0750 /app\n"),
    "chmod-and-chown": FixCase(
        text=f"{_FINAL}WORKDIR /app\n{_OUT}\nRUN chown -R app:team /app && chmod -R 775 /app\n", fewer=True
    ),
    # What needs nothing of the code
    "mkdir-after-the-code": FixCase(
        text="FROM base\nWORKDIR /app\nCOPY . .\nRUN mkdir -p /data/cache logs/old site/img && ln -s /data /app-data\n"
    ),
    "mkdir-in-a-copied-folder-that-is-missing": FixCase(
        text="FROM base\nCOPY site /srv/www\nRUN mkdir -p /srv/www/img /srv/www/new\n"
    ),
    "user-after-the-code": FixCase(
        text="FROM base\nWORKDIR /app\nCOPY . .\n# runs as this user\nRUN groupadd -g 3000 crew \\\n"
        ' && useradd -u 3001 -g crew sailor\nUSER sailor\nENTRYPOINT ["sh", "run.sh"]\n'
    ),
    "user-and-folder-of-its-own": FixCase(
        text="FROM base\nWORKDIR /app\nCOPY . .\nENV A=1\nRUN useradd -u 3001 sailor && mkdir /data "
        "&& chown sailor /data\nVOLUME /data\n"
    ),
    "user-whose-home-has-the-code-is-left": FixCase(
        text="FROM base\nCOPY site /home/sailor\nRUN useradd -m -u 3001 sailor\n", kept=True
    ),
    "link-over-the-code-is-left": FixCase(
        text="FROM base\nWORKDIR /app\nCOPY . .\nRUN ln -sf /etc/motd site/index.html\n", kept=True
    ),
    "workdir-after-the-code": FixCase(
        text=f'{_FINAL}COPY --from=build /src/out/app.conf /usr/bin/code\n# data\nWORKDIR /data/x\nCMD ["sh"]\n'
    ),
    "workdir-that-a-copy-depends-on-is-left": FixCase(
        text="FROM base\nWORKDIR /one\nCOPY site .\nWORKDIR /two\nCOPY etc .\n", kept=True
    ),
    "commands-with-other-operators-are-left": FixCase(
        text="FROM base\nWORKDIR /app\nCOPY . .\nRUN mkdir -p /data || true; chown -R app:team /app\n", kept=True
    ),
    "mode-of-a-copied-file": FixCase(
        text="FROM base\nWORKDIR /app\nCOPY code.txt .\nCOPY run.sh /\nRUN chmod +x /run.sh && mkdir /data\n"
    ),
    "modes-of-copied-files": FixCase(
        text="FROM base\nCOPY code.txt /code\nCOPY --chown=app:team run.sh /x/run\nRUN chmod 755 /x/run /code\n"
    ),
    # In the stage that makes the files
    "chmod-in-the-stage": FixCase(
        text=f"{_FINAL}WORKDIR /app\n{_OUT_AND_CODE}\nRUN chmod 700 /app/deep/*\n", unsafe=True
    ),
    "removal-in-the-stage": FixCase(text=f"{_FINAL}WORKDIR /app\n{_OUT_AND_CODE}\nRUN rm -rf /app/deep\n", unsafe=True),
    "two-tasks-in-the-stage": FixCase(
        text=f"{_FINAL}{_OUT_AND_CODE}\nRUN cat /etc/passwd > /seen && chmod -R 700 /app/deep && rm -f /app/link\n",
        unsafe=True,
    ),
    # Cache mounts
    "mount-that-its-run-empties": FixCase(
        text="FROM base\nRUN --mount=type=cache,target=/var/cache/apt mkdir -p /var/cache/apt/a && touch /made \\\n"
        "  && rm -rf /var/cache/apt/*\n"
    ),
    "mount-that-its-run-empties-with-more": FixCase(
        text="FROM base\nRUN mkdir /more\nRUN --mount=type=cache,target=/root/.npm touch /root/.npm/a /made && "
        "rm -rf /root/.npm/a /more\n"
    ),
    # --link
    "link-into-a-folder-of-root": FixCase(
        text=f"{_FINAL}WORKDIR /app\n{_OUT}\nCOPY run.sh /usr/local/bin/run\n", unsafe=True
    ),
    "link-with-the-owner-of-the-folder": FixCase(
        text=f"{_FINAL}WORKDIR /app\nRUN chown 1001:1002 /app\nCOPY --chown=1001:1002 site .\n", unsafe=True
    ),
    "link-of-a-chown-by-name": FixCase(
        text="FROM base\nRUN groupadd -g 3000 crew && useradd -u 3001 -g crew sailor && mkdir /app "
        "&& chown sailor:crew /app\nCOPY --chown=sailor:crew site /app/\n",
        unsafe=True,
    ),
    "link-into-a-folder-with-another-mode": FixCase(
        text="FROM base\nRUN mkdir -p /app/inner && chmod 700 /app\nCOPY run.sh /app/inner/\n",
        unsafe=True,
        changed=("app",),
    ),
    "link-into-a-folder-of-another-owner-is-left": FixCase(
        text="FROM base\nRUN mkdir /app && chown app:team /app\nCOPY site /app/\n", unsafe=True, kept=True
    ),
    "link-into-a-sticky-folder-is-left": FixCase(text="FROM base\nCOPY run.sh /tmp/run.sh\n", unsafe=True, kept=True),
}
