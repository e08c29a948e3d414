/* SPDX-License-Identifier: Apache-2.0
 *
 * The engine and its model for sketches.
 */
#ifndef EDGE_AUDIO_ARDUINO_H
#define EDGE_AUDIO_ARDUINO_H

#include "edge_audio.h"
#include "edge_audio_image.h"

#endif
