package simhome

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
)

// drawPicture makes a small landscape that differs from camera to camera.
func drawPicture(entityID string) []byte {
	const width, height = 640, 360
	img := image.NewRGBA(image.Rect(0, 0, width, height))
	hue := uint8(hash(entityID) % 60)
	for y := range height {
		for x := range width {
			hill := 220 + int(hash(entityID)%40) + (x-320)*(x-320)/2600
			c := color.RGBA{90 + uint8(y/3), 140 + uint8(y/4), 200, 255}
			if y > hill {
				c = color.RGBA{40 + hue, 110 + uint8((y-hill)/4), 50, 255}
			}
			img.SetRGBA(x, y, c)
		}
	}
	var b bytes.Buffer
	if png.Encode(&b, img) != nil {
		return nil // writing to memory does not fail
	}
	return b.Bytes()
}
