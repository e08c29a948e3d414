// SPDX-License-Identifier: Apache-2.0
// Times, sizes and numbers as people read them, in the language and zone of the browser.

const format = (options) => new Intl.DateTimeFormat(undefined, options);
const TIME = format({ hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const MINUTE = format({ hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const DAY = format({ weekday: "short", day: "numeric", month: "short" });
const SHORT_DAY = format({ day: "numeric", month: "short" });
const LONG_DAY = format({ weekday: "long", day: "numeric", month: "long", year: "numeric" });
const NUMBER = new Intl.NumberFormat(undefined);

const dated = (formatter) => (unixS) => formatter.format(new Date(1000 * unixS));
export const timeText = dated(TIME);
export const minuteText = dated(MINUTE);
export const dayText = dated(DAY);
export const shortDayText = dated(SHORT_DAY);
export const longDayText = dated(LONG_DAY);
export const numberText = (number) => NUMBER.format(number);

/** A length in seconds: "0.88 s", "12 s", "3 min 20 s", "2 h 5 min", "4 d 3 h". */
export function spanText(seconds) {
  if (seconds < 10) return `${seconds.toFixed(seconds < 1 ? 2 : 1)} s`;
  const whole = Math.round(seconds);
  const parts = [
    [Math.floor(whole / 86400), "d"],
    [Math.floor(whole / 3600) % 24, "h"],
    [Math.floor(whole / 60) % 60, "min"],
    [whole % 60, "s"],
  ];
  const first = parts.findIndex(([count]) => count > 0);
  const shown = parts.slice(first, first + 2).filter(([count]) => count > 0);
  return shown.map(([count, unit]) => `${count} ${unit}`).join(" ");
}

export function bytesText(nBytes) {
  if (nBytes === null) return "–";
  const power = Math.min(4, Math.floor(Math.log10(Math.max(nBytes, 1)) / 3));
  const value = nBytes / 1000 ** power;
  return `${value.toFixed(power > 0 && value < 10 ? 1 : 0)} ${["B", "kB", "MB", "GB", "TB"][power]}`;
}

export const countText = (count, one, many = `${one}s`) =>
  `${numberText(count)} ${count === 1 ? one : many}`;

/** False alarms: "about 1.2 false alarms per hour", or per day or month where that reads better.
 * about: or "over", "under". */
export function alarmsText(perHour, about = "about") {
  if (perHour === null || perHour === undefined) return "false alarms not measured";
  const [rate, unit] =
    perHour >= 1 ? [perHour, "hour"] : perHour * 24 >= 1 ? [24 * perHour, "day"] : [720 * perHour, "month"];
  if (rate < 0.95) return about === "over" ? "false alarms not measured" : "under 1 false alarm per month";
  const shown = rate < 9.95 ? String(Number(rate.toFixed(1))) : Math.round(rate).toFixed(0);
  return `${about} ${shown} false alarm${shown === "1" ? "" : "s"} per ${unit}`;
}

/** The first second of the day, in the zone of the browser. */
export function dayStart(unixS) {
  const date = new Date(1000 * unixS);
  return new Date(date.getFullYear(), date.getMonth(), date.getDate()).getTime() / 1000;
}

export const isToday = (unixS) => dayStart(unixS) === dayStart(nowS());

/** From one moment to another, as short as it can be said. */
export function rangeText(fromS, toS) {
  const isWhole = fromS === dayStart(fromS) && toS === dayStart(toS);
  const lastS = isWhole ? toS - 1 : toS;
  const isOneDay = dayStart(fromS) === dayStart(lastS);
  if (isWhole) return isOneDay ? longDayText(fromS) : `${dayText(fromS)} – ${dayText(lastS)}`;
  const time = toS - fromS < 1800 ? timeText : minuteText;
  const end = isOneDay ? time(toS) : `${dayText(toS)}, ${time(toS)}`;
  return `${dayText(fromS)}, ${time(fromS)} – ${end}`;
}

/** "2026-11-29", as fields of dates have it. */
export function dateValue(unixS) {
  const date = new Date(1000 * unixS);
  const two = (number) => String(number).padStart(2, "0");
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
}

export const nowS = () => Date.now() / 1000;
