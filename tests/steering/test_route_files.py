"""Networks from files, and what is wrong with them."""

from pathlib import Path

import pytest

from media.places import Route
from runtime.errors import Problem
from steering.route_files import read_routes


def test_csv_and_toml_are_read(tmp_path: Path) -> None:
    table = tmp_path / "routes.csv"
    table.write_text(
        "network,site,path_length,med\n# ours\n192.0.2.0/24,north,2,10\n\n2001:db8::/32, south\n"
    )
    toml = tmp_path / "more.toml"
    toml.write_text('[[network]]\nnetwork = "198.51.100.0/24"\nsite = "west"\nmed = 7\n')
    assert read_routes([str(table), str(toml)]) == (
        Route(network="192.0.2.0/24", site="north", path_length=2, med=10),
        Route(network="2001:db8::/32", site="south"),
        Route(network="198.51.100.0/24", site="west", med=7),
    )


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.csv", "192.0.2.0/24,north\n192.0.2.1/24,north\n", "line 2: .*host bits"),
        ("a.csv", "192.0.2.0/24,Nórth\n", "line 1: site"),
        ("a.csv", "192.0.2.0/24,north,far\n", "line 1: path_length"),
        ("a.csv", "192.0.2.0/24,north,1,2,3\n", "line 1: 4"),
        ("a.csv", "192.0.2.0/24\n", "line 1: site"),
        ("a.toml", "network = 3", "tables"),
        ("a.toml", "[[network]", "a.toml"),
        ("a.toml", '[[network]]\nnetwork = "x"\nsite = "north"\n', "network 1"),
    ],
)
def test_what_is_wrong_is_named(name: str, text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(Problem, match=words) as raised:
        read_routes([str(path)])
    assert raised.value.code == "bad_settings"


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(Problem, match=r"nowhere\.csv cannot be read"):
        read_routes([str(tmp_path / "nowhere.csv")])
