"""Enough of the Arduino core and of its PDM library for a compiler to check the sketch."""

ARDUINO_H = """
#pragma once
#include <stddef.h>
#include <stdint.h>
template <class A, class B> auto min(A a, B b) { return a < b ? a : b; }
void delay(unsigned long ms);
struct Printer {
  void begin(unsigned long baud);
  void print(const char *text);
  void println(const char *text);
  void println(double number);
};
extern Printer Serial;
"""
PDM_H = """
#pragma once
struct Microphone {
  void onReceive(void (*function)());
  int begin(int channels, int rate_hz);
  int available();
  int read(void *buffer, size_t n_bytes);
};
extern Microphone PDM;
"""
