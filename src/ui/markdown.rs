//! What somebody wrote about an image, as a part of a page.
//!
//! Markdown as CommonMark has it. HTML within it is shown as text, images are links, links lead to the
//! web alone, and headings stand below those of the page: whoever pushes an image writes words into the page,
//! and nothing else.

use pulldown_cmark::{CowStr, Event, HeadingLevel, Options, Parser, Tag, TagEnd, html};

/// As much of a text as is shown, in bytes.
const BYTES_MAX: usize = 64 * 1024;

/// The text as HTML that can stand in a page as it is.
pub fn to_html(text: &str) -> String {
    let text = &text[..text.floor_char_boundary(BYTES_MAX)];
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH;
    // Of each link that is open whether it is one.
    let mut open = Vec::new();
    let mut heading = HeadingLevel::H1;
    let events = Parser::new_ext(text, options).filter_map(|event| match event {
        Event::Html(text) | Event::InlineHtml(text) => Some(Event::Text(text)),
        Event::Start(Tag::HtmlBlock) => Some(Event::Start(Tag::Paragraph)),
        Event::End(TagEnd::HtmlBlock) => Some(Event::End(TagEnd::Paragraph)),
        Event::Start(Tag::Heading { level, .. }) => {
            heading = below(level, heading);
            Some(Event::Start(Tag::Heading {
                level: heading,
                id: None,
                classes: Vec::new(),
                attrs: Vec::new(),
            }))
        }
        Event::End(TagEnd::Heading(_)) => Some(Event::End(TagEnd::Heading(heading))),
        Event::Start(
            Tag::Link {
                dest_url, title, ..
            }
            | Tag::Image {
                dest_url, title, ..
            },
        ) => {
            // A link within a link is none (an image with a link around it).
            let is_link = is_web(&dest_url) && !open.contains(&true);
            open.push(is_link);
            is_link.then(|| Event::Start(link(dest_url, title)))
        }
        Event::End(TagEnd::Link | TagEnd::Image) => match open.pop() {
            Some(true) => Some(Event::End(TagEnd::Link)),
            _ => None,
        },
        other => Some(other),
    });
    let mut out = String::new();
    html::push_html(&mut out, events);
    out
}

/// Whether an address is one of the web.
pub fn is_web(address: &str) -> bool {
    let scheme = address.split_once("://").map(|(scheme, _)| scheme);
    scheme.is_some_and(|it| it.eq_ignore_ascii_case("https") || it.eq_ignore_ascii_case("http"))
}

fn link<'t>(dest_url: CowStr<'t>, title: CowStr<'t>) -> Tag<'t> {
    Tag::Link {
        link_type: pulldown_cmark::LinkType::Inline,
        dest_url,
        title,
        id: CowStr::Borrowed(""),
    }
}

/// The level of a heading behind one of the level `last`: below the page's own, and no level is left out.
fn below(level: HeadingLevel, last: HeadingLevel) -> HeadingLevel {
    let wanted = (level as usize + 1).min(last as usize + 1).min(6);
    HeadingLevel::try_from(wanted).unwrap_or(HeadingLevel::H6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_a_page() {
        let html = to_html("# Redis\n\nA *fast* [store](https://redis.io).\n\n* one\n* two\n");
        assert_eq!(
            html,
            "<h2>Redis</h2>\n<p>A <em>fast</em> <a href=\"https://redis.io\">store</a>.</p>\n\
             <ul>\n<li>one</li>\n<li>two</li>\n</ul>\n"
        );
    }

    #[test]
    fn nothing_that_a_browser_runs_or_fetches_comes_through() {
        let hostile = [
            "<script>alert(1)</script>",
            "a <img src=x onerror=alert(1)> b",
            "[x](javascript:alert(1))",
            "[x](data:text/html,hi)",
            "![x](https://evil.example/pixel.png)",
            "[![x](http://a.example/i.png)](http://b.example)",
            "<a href=\"javascript:alert(1)\">x</a>",
            "[x](https://a.example/\"onmouseover=\"alert(1))",
            "<https://a.example/><style>*{display:none}</style>",
            "[ref]\n\n[ref]: javascript:alert(1) \"t\"",
            "```html\n<script>x</script>\n```",
        ];
        for text in hostile {
            let html = to_html(text);
            // Every `<` opens one of these; a quote in an address ends no attribute.
            for tag in html.split('<').skip(1) {
                let (tag, _) = tag.split_once('>').unwrap();
                let is_link = tag.starts_with("a href=\"http") && tag.matches('"').count() == 2;
                let words = [
                    "p",
                    "/p",
                    "/a",
                    "pre",
                    "/pre",
                    "code class=\"language-html\"",
                    "/code",
                ];
                assert!(is_link || words.contains(&tag), "{text}: {html}");
            }
            assert_eq!(
                html.matches("<a ").count(),
                html.matches("</a>").count(),
                "{html}"
            );
        }
        assert!(to_html("![logo](https://a.example/l.png)").contains(">logo</a>"));
    }

    #[test]
    fn headings_stand_below_those_of_the_page_and_none_is_left_out() {
        let html = to_html("### a\n\n##### b\n\n# c\n\n## d\n");
        assert_eq!(html, "<h2>a</h2>\n<h3>b</h3>\n<h2>c</h2>\n<h3>d</h3>\n");
    }

    #[test]
    fn long_texts_are_cut() {
        let html = to_html(&"é ".repeat(BYTES_MAX));
        assert!(html.len() <= BYTES_MAX + 16);
    }
}
