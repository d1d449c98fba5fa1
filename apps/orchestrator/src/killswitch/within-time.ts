/** The promise's value, or `otherwise` once the time has passed; the promise itself goes on. @param ms milliseconds */
export async function withinTime<T, O>(ms: number, promise: Promise<T>, otherwise: O): Promise<T | O> {
  const late = Promise.withResolvers<O>();
  const timer = setTimeout(() => late.resolve(otherwise), ms);
  try {
    return await Promise.race([promise, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}
