from penstock.command.logs import Tail


def test_the_last_lines_are_shown_and_then_those_that_come(tmp_path):
    log = tmp_path / "chief-0.log"
    log.write_text("one\ntwo\nthree\n")
    tail = Tail(log)
    assert tail.last(2) == ["two", "three"]
    assert tail.new() == []
    with log.open("a") as file:
        file.write("four\nfi")
    assert tail.new() == ["four"]
    with log.open("a") as file:
        file.write("ve\n")
    assert tail.new() == ["five"]


def test_a_line_that_is_not_finished_is_shown_once_it_is(tmp_path):
    log = tmp_path / "chief-0.log"
    log.write_text("one\ntw")
    tail = Tail(log)
    assert tail.last(9) == ["one"]
    with log.open("a") as file:
        file.write("o\n")
    assert tail.new() == ["two"]


def test_a_log_that_is_gone_or_written_anew_is_shown_from_its_beginning(tmp_path):
    log = tmp_path / "chief-0.log"
    log.write_text("one\ntwo\nthree\n")
    tail = Tail(log)
    tail.last(0)
    log.unlink()
    assert tail.new() == []
    log.write_text("again\n")
    assert tail.new() == ["again"]


def test_no_line_is_asked_for(tmp_path):
    log = tmp_path / "chief-0.log"
    log.write_text("one\n")
    assert Tail(log).last(0) == []
