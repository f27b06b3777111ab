from __future__ import annotations

import json

from launcher.train.compat.describe_keys import describe_keys, main


def test_the_whole_zoo_is_described_as_what_differs_from_the_defaults():
    described = describe_keys([])

    base = described["zoo"]["Base-RCNN-FPN"]
    assert len(described["zoo"]) >= 92
    assert base["SOLVER"] == {"MAX_ITER": 90000, "BASE_LR": 0.02, "STEPS": [60000, 80000]}
    assert described["defaults"]["SOLVER"]["IMS_PER_BATCH"] == 16


def test_anchors_that_a_zoo_file_computes_arrive_as_numbers():
    sizes = describe_keys([])["zoo"]["Base-RetinaNet"]["MODEL"]["ANCHOR_GENERATOR"]["SIZES"]

    assert [round(size, 1) for size in sizes[0]] == [32, 40.3, 50.8]


def test_the_program_writes_json_or_why_it_fails(tmp_path, capsys):
    output = tmp_path / "keys.json"

    assert main([str(output)]) == 0
    assert main([str(tmp_path / "other.json"), "absent_module:f"]) == 2

    assert json.loads(output.read_text())["extension_files"] == []
    assert "module absent_module cannot be imported" in (tmp_path / "other.json").read_text()
    assert capsys.readouterr().err == ""
