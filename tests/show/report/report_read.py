"""A report as it is written, read into elements."""

from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

from kinevec.show.report import Report, write_report

VOID = {"meta", "link", "br", "img", "input", "hr"}


@dataclass
class Element:
    tag: str
    attributes: dict[str, str]
    children: list["Element | str"] = field(default_factory=list)

    def all(self, tag: str = "", **attributes: str) -> list["Element"]:
        """Descendants with a tag and with these words among their attributes."""
        found = []
        for child in self.children:
            if isinstance(child, Element):
                words = {name: child.attributes.get(name, "").split() for name in child.attributes}
                wanted = {name.rstrip("_"): word for name, word in attributes.items()}
                if tag in ("", child.tag) and all(
                    word in words.get(name, ()) for name, word in wanted.items()
                ):
                    found.append(child)
                found += child.all(tag, **attributes)
        return found

    @property
    def text(self) -> str:
        return "".join(child if isinstance(child, str) else child.text for child in self.children)


class Page(HTMLParser):
    """Reads a page into elements; every tag must be closed in order."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.root = Element("", {})
        self.open = [self.root]
        self.feed(content)
        self.close()
        assert self.open == [self.root], f"not closed: {[element.tag for element in self.open]}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs), f"an attribute stands twice in {tag}: {attrs}"
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.open[-1].children.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1].tag == tag, f"</{tag}> closes <{self.open[-1].tag}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)


def written(report: Report, folder: Path) -> Element:
    write_report(folder / "report.html", report)
    return Page((folder / "report.html").read_text("utf-8")).root


def lines(table: Element) -> list[list[str]]:
    """The texts of the cells of each line of a table, without those that are for the eye alone."""
    shown = [line for line in table.all("tr") if "aria-hidden" not in line.attributes]
    return [[cell.text for cell in line.children if isinstance(cell, Element)] for line in shown]
