// Package images answers the ImageService of the CRI out of the image store:
// requests are checked, errors get the meaning that the CRI gives them, images
// become messages. It keeps nothing, and knows nothing of containers.
package images
