"""hadolint finds nothing in the Dockerfile."""


def test_hadolint_finds_nothing(tool) -> None:
    said, status = tool("hadolint", "Dockerfile")
    assert status == 0, said


def test_hadolint_finds_a_command_in_shell_form(tool, root, tmp_path) -> None:
    wrong = tmp_path / "Dockerfile"
    wrong.write_text((root / "Dockerfile").read_text().replace('ENTRYPOINT ["/app/bin/ingest"]', "ENTRYPOINT ingest"))
    said, status = tool("hadolint", str(wrong))
    assert status == 1
    assert "DL3025" in said
