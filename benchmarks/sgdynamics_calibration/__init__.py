"""Are the errors right? The statistics and `compare` on problems whose law is known: `make calibrate`.

linear      `cases`   Over independent seeds of one problem, z = (estimate − law) / standard error of a statistic
                      that is linear in sums over replicas is Student's t of groups − 1 degrees of freedom, where the
                      groups' values are near normal. Tested by Kolmogorov and Smirnov's distance, and by how often
                      the law lies in the intervals of 68.3, 95 and 99 % (`judge`). Of each statistic one fixed linear
                      combination of all its entries is taken, one z for each seed, so that these are independent.
nonlinear   `cases`   the same z of ratios, angles and exponents, which are t to leading order in 1/replicas
derivatives `derivatives`
                      the same z of derivatives of known laws by parameters, and of fits of planted ones
bias        `bias`    their bias in ensembles so small that the plain estimate's is seen, against a bound
alarms      `alarms`  how often `compare` calls the right law wrong, against its level
power       `power`   wrong models are called wrong, the right one beside each is not

What is calibrated of each statistic:

    Mean, Loss, Snapshots, Extrema, Histogram, Displacement, GlobalDisplacement, FirstPassage.fraction,
    Covariance(about=), PowerSpectrum(about=)                   linear: means over replicas of something of each path
    Variance, Covariance, Autocovariance, PowerSpectrum         about the ensemble's own mean: linear to 1/replicas;
                                                                what is left is a bias that the jackknife takes off
    Halves                                                      linear where its statistic is; the change too
    Kurtosis, AngularVelocity, FirstPassage.mean, power_law     nonlinear: ratios, an angle, an exponent
    Norm, Projection, PhaseSpace                                observables: nothing to calibrate
    values, times, minima … of single replicas                  no estimates: nothing to calibrate

Every number is drawn from fixed seeds, so the command gives the same verdicts again on one kind of machine.
"""
