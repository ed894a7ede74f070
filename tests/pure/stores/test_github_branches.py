"""Test listing the branches and the open pull requests with GitHub's API."""

from __future__ import annotations

from contextlib import closing

import pytest

from stagebake.errors import RegistryError
from stagebake.stores.github_branches import GithubBranches
from tests.support.branches import Branches
from tests.support.packages import TOKEN
from tests.support.page import HTML, answering


def open_branches(url: str, token: str = TOKEN) -> GithubBranches:
    return GithubBranches("owner/app", token, {"GITHUB_API_URL": url})


def test_list_branches_and_pull_requests_reads_every_page() -> None:
    names = [f"feature/{number}" for number in range(250)]
    github = Branches(branches=names, pull_requests=range(1, 121))
    with github.serve() as url, closing(open_branches(url)) as branches:
        assert branches.list_branches() == names
        assert branches.list_pull_requests() == list(range(1, 121))
    assert len(github.asked) == 5
    assert "state=open" in github.asked[3]


@pytest.mark.parametrize("status", [401, 403, 404])
def test_list_branches_without_rights_names_the_permissions(status: int) -> None:
    github = Branches(refusal=status)
    with github.serve() as url, closing(open_branches(url)) as branches, pytest.raises(RegistryError) as caught:
        branches.list_branches()
    assert f"answered {status}" in caught.value.problem
    assert "contents: read, pull-requests: read" in caught.value.hint


@pytest.mark.parametrize("body", [HTML, b"{}", b"[3]", b'[{"number": "x"}]'], ids=["page", "object", "numbers", "text"])
def test_list_branches_response_of_other_shape_is_an_error(body: bytes) -> None:
    """Take no page of a proxy for a repository without branches."""
    with answering(body) as url, closing(open_branches(url)) as branches, pytest.raises(RegistryError):
        branches.list_branches()
