/* SPDX-License-Identifier: Apache-2.0
 *
 * Empty: jni.h includes it, but uses nothing of it, and there is no C library here. */
