#!/bin/sh
# Fetches the page's third-party files at pinned versions and writes their
# checksums. The files are the packages' own, byte for byte; only the icons are
# folded into one table. Needs npm, tar, gzip, python3. Run it in this directory.
set -eu
cd "$(dirname "$0")"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

lit_html=3.3.3
haws=9.7.0
uplot=1.6.32
mdi=7.4.47

unpack() { # package, directory
	(cd "$tmp" && tgz=$(npm pack --silent "$1") && mkdir "$2" && tar xzf "$tgz" -C "$2" --strip-components=1)
}
unpack "lit-html@$lit_html" lit-html
unpack "home-assistant-js-websocket@$haws" haws
unpack "uplot@$uplot" uplot
unpack "@mdi/svg@$mdi" mdi

rm -rf static/vendor
mkdir -p static/vendor/lit-html static/vendor/haws static/vendor/uplot icons
for f in lit-html.js directive.js directive-helpers.js async-directive.js; do
	sed '/^\/\/# sourceMappingURL=/d' "$tmp/lit-html/$f" >"static/vendor/lit-html/$f"
done
for f in connection.js errors.js messages.js; do
	cp "$tmp/haws/dist/$f" static/vendor/haws/
done
cp "$tmp/uplot/dist/uPlot.iife.min.js" "$tmp/uplot/dist/uPlot.min.css" static/vendor/uplot/
cp "$tmp/lit-html/LICENSE" static/vendor/lit-html/LICENSE
cp "$tmp/haws/LICENSE.md" static/vendor/haws/LICENSE
cp "$tmp/uplot/LICENSE" static/vendor/uplot/LICENSE
cp "$tmp/mdi/LICENSE" icons/LICENSE

python3 - "$tmp/mdi/svg" >"$tmp/mdi.tsv" <<'PY'
import pathlib, re, sys
for f in sorted(pathlib.Path(sys.argv[1]).glob("*.svg")):
    print(f.stem, re.search(r' d="([^"]+)"', f.read_text()).group(1), sep="\t")
PY
gzip -9nc "$tmp/mdi.tsv" >icons/mdi.tsv.gz

{
	echo "# lit-html $lit_html (BSD-3-Clause), home-assistant-js-websocket $haws (Apache-2.0), uplot $uplot (MIT), @mdi/svg $mdi (Apache-2.0)"
	find static/vendor icons/mdi.tsv.gz -type f | LC_ALL=C sort | xargs sha256sum
} >vendor.sha256
