import math
import re

import pytest

from ldnet.processing.visualization_assets import DARK, LIGHT, SCRIPT, STYLE

AA_TEXT, AA_GRAPHICS = 4.5, 3.0  # WCAG 2.2, 1.4.3 and 1.4.11


def luminance(lightness, chroma, hue):
    """Relative luminance of an OKLCH colour, as CSS Color 4 defines both; outside of sRGB it is clipped."""
    a, b = chroma * math.cos(math.radians(hue)), chroma * math.sin(math.radians(hue))
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    red = 4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short
    green = -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short
    blue = -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short
    red, green, blue = (min(1, max(0, value)) for value in (red, green, blue))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one, other, hue):
    lighter, darker = sorted((luminance(*one, hue), luminance(*other, hue)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def test_luminance_of_white_black_and_red_is_known():
    assert luminance(1, 0, 0) == pytest.approx(1, abs=1e-3)
    assert luminance(0, 0, 0) == 0
    assert luminance(0.62796, 0.25768, 29.23) == pytest.approx(0.2126, abs=1e-3)


@pytest.mark.parametrize("scheme", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize(
    ("front", "back", "least"),
    [
        ("ink", "surface", AA_TEXT),
        ("ink", "tint", AA_TEXT),
        ("muted", "surface", AA_TEXT),
        ("muted", "page", AA_TEXT),
        ("label", "tint", AA_TEXT),
        ("label", "surface", AA_TEXT),
        ("strong", "surface", AA_GRAPHICS),
        ("strong", "tint", AA_GRAPHICS),
    ],
)
def test_colours_have_enough_contrast_in_every_hue(scheme, front, back, least):
    lowest = min((contrast(scheme[front], scheme[back], hue), hue) for hue in range(360))
    assert lowest[0] >= least, lowest


def test_style_and_script_load_nothing_and_cannot_end_their_element():
    assert "</" not in STYLE + SCRIPT
    assert "<!--" not in STYLE + SCRIPT
    assert not re.search(
        r"https?:|//\w|@import|url\(|innerHTML|insertAdjacentHTML|eval\(|fetch\(", STYLE + SCRIPT
    )


def test_style_touches_only_our_own_elements():
    """A part of a notebook shall leave the rest of it alone."""
    rules = re.sub(r"/\*.*?\*/|@(media|supports)[^{]*\{", "", STYLE, flags=re.DOTALL)
    selectors = [part for rule in re.findall(r"([^{}]+)\{", rules) for part in rule.split(",")]
    foreign = [selector for selector in map(str.strip, selectors) if ".ldnet" not in selector]
    assert selectors
    assert foreign == []


def test_style_has_balanced_braces_and_knows_every_variable_it_uses():
    assert STYLE.count("{") == STYLE.count("}")
    used, set_here = set(re.findall(r"var\((--[\w-]+)", STYLE)), set(re.findall(r"(--[\w-]+):", STYLE))
    from_elements = {"--c", "--h", "--lift"}
    assert used - set_here == from_elements
