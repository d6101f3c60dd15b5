from benchmarks.bug_pairs_run import command, expected, gone, programs

from trainworthy.check.rule import all_rules


def test_every_program_names_a_pair_a_depth_and_a_rule() -> None:
    found = programs()
    assert len(found) >= 20
    for one in found:
        assert one["expects"] == "-" or one["expects"] in all_rules()
        assert one["depth"].split()[0] in ("live", "rehearse", "probe")
        assert command(one["depth"], one["path"])


def test_what_is_found_is_gone_when_the_same_text_is_no_longer_reported() -> None:
    one = {"code": "TW101", "path": "a.py", "text": "loss = x - y"}
    assert gone([one], [{**one, "line": 9}]) == []
    assert gone([one], [{**one, "code": "TW102"}]) == [one]


def test_a_finding_counts_at_its_places_only() -> None:
    program = {"expects": "TW101", "where": "a.py, program"}
    finding = {"code": "TW101", "path": "train_on_invented_data.py", "said": "sub of (8, 1) and (8,)"}
    assert expected(finding, program)
    assert expected(finding, {**program, "says": "(8, 1)"})
    assert not expected(finding, {**program, "says": "(9, 1)"})
    assert not expected({**finding, "path": "b.py"}, program)
    assert not expected({**finding, "code": "TW102"}, program)
