import '../../../test/support/builders.js';
import 'fast-check';
